# Tango intervals and exact McNemar tests by R, written as paired.json. Run in this folder, with two files of other
# packages (see README.md): Rscript paired.R scoreci.mp.R Tango_asymptotic_score_CI_paired_2x2.R
files <- commandArgs(trailingOnly = TRUE)
source(files[1])
source(files[2])

# What the second file takes from the rest of its package.
validateArguments <- function(...) invisible(NULL)
contingencytables_result <- function(values, ...) values

number <- function(x) sprintf("%.17g", x)
pair <- function(x) sprintf("[%s, %s]", number(x[1]), number(x[2]))

# PropCIs takes the difference (c - b) / n, contingencytables (n12 - n21) / n.
case <- function(wins, losses, n) {
  interval <- function(level) {
    by_propcis <- scoreci.mp(losses, wins, n, level)
    cells <- matrix(c(n - wins - losses, losses, wins, 0), 2)
    by_tables <- unlist(Tango_asymptotic_score_CI_paired_2x2(cells, 1 - level)[c("lower", "upper")])
    sprintf('{"level": %s, "PropCIs": %s, "contingencytables": %s}', number(level), pair(by_propcis), pair(by_tables))
  }
  p <- function(alternative) {
    if (wins + losses == 0) 1 else binom.test(wins, wins + losses, 0.5, alternative = alternative)$p.value
  }
  sprintf(
    '  {"wins": %d, "losses": %d, "n": %d, "p_greater": %s, "p_less": %s, "p_two_sided": %s,\n   "intervals": [%s]}',
    wins, losses, n, number(p("greater")), number(p("less")), number(p("two.sided")),
    paste(sapply(c(0.8, 0.9, 0.95, 0.99), interval), collapse = ", ")
  )
}

tables <- list(
  c(1, 7, 21), c(6, 16, 161), c(9, 3, 32), c(0, 1, 44), c(40, 20, 160), c(20, 40, 160), c(150, 86, 1600),
  c(28, 25, 618), c(0, 0, 30), c(5, 0, 20), c(0, 5, 20), c(5, 5, 10), c(1, 0, 2), c(3, 3, 40), c(350, 300, 10000),
  c(60, 3, 63), c(19, 1, 20),
  c(20, 0, 20), c(0, 20, 20)
)
cases <- sapply(tables, function(t) case(t[1], t[2], t[3]))
writeLines(c(sprintf('{"source": "%s",', R.version.string), ' "cases": [', paste(cases, collapse = ",\n"), " ]}"), "paired.json")
