# Reference values for decision curves, calibration and subgroups: reads cohort.csv, writes reference.csv.
#
#     Rscript reference.R
#
# R 4.2.2, pROC 1.18.0 (roc, var, roc.test), rms 6.5.0 (val.prob). Net benefit is written out in base R from its
# definition (Vickers & Elkin 2006), as the packages dcurves and rmda compute it; neither is in Debian.
suppressPackageStartupMessages({library(pROC); library(rms)})
cohort <- read.csv("cohort.csv")
values <- list()
put <- function(name, value) values[[name]] <<- as.numeric(value)

# Net benefit (TP / n - w FP / n), of the model and of treating all, and net benefit over prevalence.
for (threshold in c(0.05, 0.1, 0.2, 0.3, 0.5, 0.8)) {
  weight <- threshold / (1 - threshold)
  called <- cohort$probability >= threshold
  benefit <- mean(called & cohort$event == 1) - weight * mean(called & cohort$event == 0)
  put(paste("net benefit", threshold), benefit)
  put(paste("treat all", threshold), mean(cohort$event) - weight * (1 - mean(cohort$event)))
  put(paste("standardised", threshold), benefit / mean(cohort$event))
}

# Calibration: slope of the logistic recalibration and, with the slope fixed at 1, the intercept.
put("val.prob slope", val.prob(cohort$probability, cohort$event, pl = FALSE)["Slope"])
put("val.prob Brier", val.prob(cohort$probability, cohort$event, pl = FALSE)["Brier"])
put("val.prob C", val.prob(cohort$probability, cohort$event, pl = FALSE)["C (ROC)"])
large <- glm(event ~ offset(qlogis(probability)), binomial, cohort)
put("intercept", coef(large))
put("intercept error", sqrt(vcov(large)))
slope <- glm(event ~ qlogis(probability), binomial, cohort)
put("slope error", sqrt(vcov(slope)[2, 2]))

# AUC by subgroup with DeLong's variance, and DeLong's unpaired test of the difference.
curve <- function(rows) roc(rows$event, rows$probability, levels = c(0, 1), direction = "<")
for (level in c("a", "b", "c")) {
  put(paste("auc", level), auc(curve(cohort[cohort$site == level, ])))
  put(paste("variance", level), var(curve(cohort[cohort$site == level, ]), method = "delong"))
}
for (level in c("b", "c")) {
  test <- roc.test(curve(cohort[cohort$site == level, ]), curve(cohort[cohort$site == "a", ]), method = "delong")
  put(paste("p", level), test$p.value)
  put(paste("freedom", level), test$parameter["df"])
  put(paste("statistic", level), test$statistic)
}

# Sensitivity by subgroup at 0.3: chi-square test of two proportions without continuity correction.
hits <- with(cohort[cohort$event == 1, ], table(site, probability >= 0.3))
for (level in c("b", "c"))
  put(paste("chi-square p", level), suppressWarnings(prop.test(hits[c(level, "a"), c("TRUE", "FALSE")], correct = FALSE))$p.value)

# Holm's correction over the tests of both levels.
put("holm b", p.adjust(c(values[["p b"]], values[["p c"]]), "holm")[1])
put("holm c", p.adjust(c(values[["p b"]], values[["p c"]]), "holm")[2])

writeLines(c("name,value", sprintf("%s,%.15g", names(values), unlist(values))), "reference.csv")
