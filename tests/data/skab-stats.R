# Made skab-stats.json, once, on Debian 12 with R 4.2.2 (r-base-core) and
# exactRankTests 0.8-35 (r-cran-exactranktests):
#
#   Rscript skab-stats.R > skab-stats.json
#
# R is not needed to run the tests.  Values without ties go to R's own
# wilcox.test(exact = TRUE, conf.int = TRUE): estimate, interval and p.
# Vectors with ties or zeros have only p: wilcox.exact leaves zeros out and
# takes the exact distribution given the ties.
suppressMessages(library(exactRankTests))
set.seed(20070711)

numbers <- function(x) paste(format(x, digits = 17), collapse = ", ")

untied <- function(x) {
  w <- wilcox.test(x, exact = TRUE, conf.int = TRUE, conf.level = 0.95)
  n <- length(x)
  k <- max(qsignrank(0.025, n), 1)
  sprintf(paste0('  {"x": [%s],\n   "estimate": %s, "low": %s, "high": %s,',
                 ' "p": %s, "level": %s}'),
          numbers(x), numbers(w$estimate), numbers(w$conf.int[1]),
          numbers(w$conf.int[2]), numbers(w$p.value),
          numbers(1 - 2 * psignrank(k - 1, n)))
}

tied <- function(x) {
  w <- suppressWarnings(wilcox.exact(x, exact = TRUE))
  sprintf('  {"x": [%s],\n   "p": %s}', numbers(x), numbers(w$p.value))
}

plain <- lapply(c(6:13, 16, 20, 25, 30, 40), function(n)
  untied(rnorm(n, mean = runif(1, -0.05, 0.05), sd = 0.03)))
skewed <- lapply(c(6, 9, 12, 24), function(n) untied(rexp(n) - 0.5))
ties <- lapply(c(6, 8, 10, 12, 15, 20), function(n)
  tied(sample(-2:4, n, replace = TRUE) / 4))
cat("{\"untied\": [\n", paste(c(plain, skewed), collapse = ",\n"),
    "\n],\n\"tied\": [\n", paste(ties, collapse = ",\n"), "\n]}\n", sep = "")
