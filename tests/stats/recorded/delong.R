# Paired DeLong tests by pROC, written as delong.json. Run in this folder: Rscript delong.R
suppressMessages(library(pROC))

number <- function(x) sprintf("%.17g", x)
array <- function(x) paste0("[", paste(number(x), collapse = ", "), "]")

case <- function(name, y, old, new) {
  curve <- function(p) roc(y, p, levels = c(0, 1), direction = "<", quiet = TRUE)
  a <- curve(old)
  b <- curve(new)
  test <- function(alternative) {
    roc.test(b, a, method = "delong", paired = TRUE, alternative = alternative, conf.level = 0.9)
  }
  two <- test("two.sided")
  facts <- c(
    sprintf('"name": "%s"', name),
    sprintf('"y": %s', array(y)), sprintf('"old": %s', array(old)), sprintf('"new": %s', array(new)),
    sprintf('"auc_old": %s', number(auc(a))), sprintf('"auc_new": %s', number(auc(b))),
    sprintf('"var_old": %s', number(var(a, method = "delong"))),
    sprintf('"var_new": %s', number(var(b, method = "delong"))),
    sprintf('"z": %s', number(two$statistic)),
    sprintf('"p_greater": %s', number(test("greater")$p.value)),
    sprintf('"p_less": %s', number(test("less")$p.value)),
    sprintf('"ci90": %s', array(two$conf.int))
  )
  paste0("  {", paste(facts, collapse = ",\n   "), "}")
}

simulated <- function(name, seed, n, positives, noise_old, noise_new, round_to) {
  set.seed(seed)
  y <- sample(rep(c(0, 1), c(n - positives, positives)))
  seen <- function(noise) round((y + noise * rnorm(n)) / round_to) * round_to
  case(name, y, seen(noise_old), seen(noise_new))
}

data(aSAH)
y <- as.integer(aSAH$outcome == "Poor")
wfns <- as.integer(as.character(aSAH$wfns))
cases <- c(
  case("aSAH, s100b to wfns", y, aSAH$s100b, wfns),
  case("aSAH, ndka to wfns", y, aSAH$ndka, wfns),
  case("aSAH, ndka to s100b", y, aSAH$ndka, aSAH$s100b),
  simulated("no ties", 1, 120, 50, 2.0, 1.5, 1e-9),
  simulated("some ties", 2, 120, 50, 1.5, 1.4, 0.25),
  simulated("three levels", 3, 90, 45, 0.8, 0.7, 1.0),
  simulated("few positives", 4, 150, 6, 1.0, 0.6, 0.1),
  simulated("nearly perfect", 5, 80, 40, 0.3, 0.2, 0.1),
  simulated("worse", 6, 100, 30, 0.7, 2.0, 0.1)
)
source <- sprintf("%s; pROC %s", R.version.string, packageVersion("pROC"))
writeLines(c(sprintf('{"source": "%s",', source), ' "cases": [', paste(cases, collapse = ",\n"), " ]}"), "delong.json")
