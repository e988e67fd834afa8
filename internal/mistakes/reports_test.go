package mistakes

// reports are mistakes in what the bench makes of its figures.
var reports = []mistake{
	{"NoiseJudged", "a difference is a regression although runs without one often look as different",
		test{pkg: "cmd/slubd-bench/internal/report", pattern: `^TestRegressionIsSignificantAndAboveThreshold$`}, `slower, but noisy`, `
cmd/slubd-bench/internal/report/compare.go
-	c.Regression = c.Significant && change > threshold && ours(is.Alloc)
+	c.Regression = change > threshold && ours(is.Alloc)
`},
	{"RunsSorted", "the test of two rows changes the order of their runs",
		test{pkg: "cmd/slubd-bench/internal/stat", pattern: `^TestP$`}, `were sorted in place`, `
cmd/slubd-bench/internal/stat/stat.go
-	return benchmath.NewSample(slices.Clone(values), &benchmath.Thresholds{CompareAlpha: Alpha})
+	return benchmath.NewSample(slices.Clip(values), &benchmath.Thresholds{CompareAlpha: Alpha})
`},
}
