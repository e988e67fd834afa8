package mistakes

// reports are mistakes in what the bench makes of its figures, and in what records allocations and
// replays them.
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
	{"NumberKept", "the number of a freed object is not used again by the recorder",
		test{pkg: "hooks/trace", pattern: `^TestRoundTrip$`}, `can't be read`, `
hooks/trace/recorder.go
-		r.number.put(number)
`},
	{"FreedTwiceRead", "a trace is accepted that frees an object twice",
		test{pkg: "hooks/trace", pattern: `^TestReadRefusesHostileTraces$`}, `free twice: `, `
hooks/trace/read.go
-	case kind == kindFree && (value >= uint64(len(d.sizes)) || d.sizes[value] == 0):
+	case kind == kindFree && value >= uint64(len(d.sizes)):
`},
	{"ReplayUnchecked", "a replay that has freed other objects than the trace says counts",
		test{pkg: "cmd/slubd-bench/internal/runner", pattern: `^TestReplayIsChecked$`}, `another checksum`, `
cmd/slubd-bench/internal/runner/trace.go
-	if want := cycle.Checksum(s.Weight()) * uint64(s.Threads); sample.Checksum != want {
+	if want := cycle.Checksum(s.Weight()) * uint64(s.Threads); sample.Checksum == 0 {
`},
	{"PausesOverwritten", "of pauses of the same length only those of the last run count",
		test{pkg: "cmd/slubd-bench/internal/workload", pattern: `^TestPauses$`}, `\{10 4\}`, `
cmd/slubd-bench/internal/workload/pauses.go
-			sum[n-1].Count += p.Count
+			sum[n-1].Count = p.Count
`},
	{"LinearAxis", "a chart places the figures of a logarithmic axis as on a linear one",
		test{pkg: "cmd/slubd-bench/internal/page", pattern: `^TestLogarithmicPlaces$`}, `lies at`, `
cmd/slubd-bench/internal/page/axis.go
-		return 100 * math.Log(x/a.low) / math.Log(a.high/a.low)
+		return 100 * (x - a.low) / (a.high - a.low)
`},
}
