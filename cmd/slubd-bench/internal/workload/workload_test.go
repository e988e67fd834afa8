package workload

import (
	"slices"
	"testing"
)

func TestCatalogIsCompleteAndUnique(t *testing.T) {
	var names []string
	for _, w := range Catalog() {
		if slices.Contains(names, w.Name) {
			t.Errorf("%s is listed twice", w.Name)
		}
		if w.Unit == "" || w.About == "" {
			t.Errorf("%s lacks a unit or a description", w.Name)
		}
		if !w.Has(Slubd) {
			t.Errorf("%s does not measure slubd", w.Name)
		}
		names = append(names, w.Name)
	}
	for _, want := range []string{
		"pair", "batch-100-fifo", "batch-100-lifo", "batch-100-shuffled", "batch-1000-fifo", "batch-1000-lifo",
		"batch-1000-shuffled", "churn", "mix", "xfer", "bulk", "prefill", "buckets", "account", "rcu", "gc", "larson", "mstress", "rptest",
		"xmalloc", "sh6", "sh8", "alloc-test", "cache-scratch", "cache-thrash", "malloc-mix", "large", "reclaim", "gc-linked", "gc-map", "resident",
		"rcu-read", "rcu-map-90-9-1", "rcu-map-50-50", "rcu-enter", "rcu-reader-enter", "freercu-flood", "gp-latency", "gp-expedited",
		"tail-idle", "tail-steady", "tail-bursty", "tail-cross", "tail-phases", "tail-steady-gc", "tail-bursty-gc", "tail-cross-gc", "tail-phases-gc",
		"tail-disturbed-scrape", "tail-disturbed-shrink", "tail-disturbed-caches", "tail-disturbed-capacity",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestDefaultSuiteIsInCatalog(t *testing.T) {
	n := 0
	for _, w := range Catalog() {
		if w.Default {
			n++
		}
	}
	if n != len(defaults) {
		t.Errorf("%d of the workloads %v are in the catalogue", n, defaults)
	}
}

func TestWorkloadsWithoutNativeAllocators(t *testing.T) {
	for _, w := range Catalog() {
		only := w.Kind == Buckets || w.Kind == Account || w.Kind == RCU || w.Kind == Reclaim || w.Kind.OnNodes() || w.Kind.ByRCU() || w.Kind.WholeHeap() ||
			w.Kind == TailIdle || w.Collector || w.Disturb != ""
		if w.Has(TCMalloc) == only {
			t.Errorf("%s: tcmalloc takes part: %v", w.Name, !only)
		}
	}
}

func TestPoolCannotRunMallocWorkloads(t *testing.T) {
	for _, w := range Catalog() {
		if w.Kind.ByMalloc() && (w.Has(Pool) || !w.Has(Go) || !w.Has(Jemalloc)) {
			t.Errorf("%s is for %v", w.Name, w.Names)
		}
	}
}

func TestOtherImplementationsOnlyRunRCU(t *testing.T) {
	for _, w := range Catalog() {
		for _, name := range []string{URCU, CK, SyncMap, Sharded} {
			if w.Has(name) && !w.Kind.ByRCU() && w.Kind != GCMap {
				t.Errorf("%s takes part in %s", name, w.Name)
			}
			if Native(name) {
				t.Errorf("%s counts as an allocator", name)
			}
		}
		if KindOf(w.Name) != w.Kind {
			t.Errorf("%s is of kind %q", w.Name, KindOf(w.Name))
		}
	}
	if kind := KindOf("nothing"); kind != "" {
		t.Errorf("nothing is of kind %q", kind)
	}
}

func TestReadersUseFreeCPUs(t *testing.T) {
	for _, c := range []struct {
		kind          Kind
		threads, cpus int
		busy, asleep  int
	}{
		{kind: Pair, threads: 1, cpus: 4, busy: 0, asleep: 0},
		{kind: RCURead, threads: 1, cpus: 4, busy: 0, asleep: 0},
		{kind: RCUMap, threads: 1, cpus: 4, busy: 0, asleep: 0},
		{kind: RCU, threads: 1, cpus: 2, busy: 1, asleep: 0},
		{kind: FreeRCUFlood, threads: 1, cpus: 4, busy: 3, asleep: 0},
		{kind: FreeRCUFlood, threads: 2, cpus: 2, busy: 0, asleep: 2},
		{kind: FreeRCUFlood, threads: 8, cpus: 2, busy: 0, asleep: 2},
		{kind: GPLatency, threads: 1, cpus: 1, busy: 2, asleep: 0},
		{kind: GPExpedited, threads: 1, cpus: 4, busy: 2, asleep: 0},
		{kind: GPLatency, threads: 1, cpus: 8, busy: 2, asleep: 0},
	} {
		r := Spec{Kind: c.kind, Threads: c.threads}.Readers(c.cpus)
		if r.Count != c.busy+c.asleep || (r.Sleep > 0) != (c.asleep > 0) || (r.Section > 0) != (c.busy > 0) {
			t.Errorf("%s, %d threads on %d CPUs: %+v", c.kind, c.threads, c.cpus, r)
		}
	}
}

func TestSizeDistributions(t *testing.T) {
	for _, c := range []struct {
		kind          Kind
		low, high     uint32
		median, least uint32 // of the sizes; the least that the median may be
	}{
		{kind: Mix, low: 16, high: 1024, median: 256, least: 128},
		{kind: Larson, low: 8, high: 1000, median: 510, least: 500},
		{kind: MStress, low: 16, high: 1024, median: 128, least: 128},
		{kind: RPTest, low: 8, high: 16_000, median: 4800, least: 4600},
		{kind: SH6, low: 8, high: 1000, median: 310, least: 290},
		{kind: AllocTest, low: 8, high: 1024, median: 16, least: 15},
		{kind: MallocMix, low: 8, high: 8192, median: 260, least: 250},
	} {
		sizes := c.kind.Sizes()
		if first, last := sizes[0], sizes[len(sizes)-1]; first < c.low || first >= 2*c.low || last > c.high || last < c.high*9/10 {
			t.Errorf("%s: %d to %d bytes", c.kind, first, last)
		}
		if m := sizes[len(sizes)/2]; !slices.IsSorted(sizes) || m < c.least || m > c.median {
			t.Errorf("%s: the median is %d bytes", c.kind, m)
		}
	}
	for _, kind := range []Kind{Pair, XMalloc, CacheThrash} {
		if kind.Sizes() != nil {
			t.Errorf("%s draws sizes", kind)
		}
	}
}

func TestByClass(t *testing.T) {
	list := ByClass([]uint32{8, 9, 16, 8192}, []uint32{8, 16, 16, 8192})
	want := map[uint32]ClassBytes{
		8:    {Class: 8, Asked: 8, Given: 8},
		16:   {Class: 16, Asked: 25, Given: 32},
		8192: {Class: 8192, Asked: 8192, Given: 8192},
	}
	for _, c := range list {
		if c != want[c.Class] && (c.Asked != 0 || c.Given != 0) {
			t.Errorf("%+v", c)
		}
	}
	if len(list) != len(Classes()) {
		t.Errorf("%d classes of %d", len(list), len(Classes()))
	}
}

func TestIndices(t *testing.T) {
	const n = 100
	fifo, lifo, shuffled := FIFO.Indices(n, 1), LIFO.Indices(n, 1), Shuffled.Indices(n, 1)
	if !slices.IsSorted(fifo) {
		t.Errorf("fifo: %v", fifo)
	}
	slices.Reverse(lifo)
	if !slices.Equal(lifo, fifo) {
		t.Errorf("lifo backwards: %v", lifo)
	}
	if slices.Equal(shuffled, fifo) || slices.Equal(shuffled, Shuffled.Indices(n, 2)) {
		t.Error("shuffled does not shuffle by seed")
	}
	if !slices.Equal(shuffled, Shuffled.Indices(n, 1)) {
		t.Error("the same seed shuffles differently")
	}
	slices.Sort(shuffled)
	if !slices.Equal(shuffled, fifo) {
		t.Errorf("shuffled is no permutation: %v", shuffled)
	}
}

func TestDrawIsUniform(t *testing.T) {
	const n = 12
	r, other := NewRandom(1, 0), NewRandom(1, 1)
	var hits [n]int
	same := 0
	for range 12_000 {
		k := r.Draw(n)
		hits[k]++
		if k == other.Draw(n) {
			same++
		}
	}
	for k, h := range hits {
		if h < 800 || h > 1200 {
			t.Errorf("%d was drawn %d times of 12000", k, h)
		}
	}
	if same > 2000 {
		t.Errorf("two threads drew the same number %d times of 12000", same)
	}
}

func TestWithOpsRoundsToBatches(t *testing.T) {
	s := Spec{Batch: 32}.WithOps(100)
	if s.Ops != 128 || s.Warm != 32 {
		t.Errorf("100 operations in batches of 32 became %d and %d", s.Ops, s.Warm)
	}
	if s := (Spec{}).WithOps(0); s.Ops != 1 || s.Warm != 1 {
		t.Errorf("0 operations became %d and %d", s.Ops, s.Warm)
	}
}

func TestPairs(t *testing.T) {
	s := Spec{Kind: Xfer, Threads: 2, Ops: 64}
	if s.Pairs() != 64 {
		t.Errorf("one producer, one consumer, 64 objects: %d pairs", s.Pairs())
	}
	s.Kind = Pair
	if s.Pairs() != 128 {
		t.Errorf("two threads, 64 pairs each: %d pairs", s.Pairs())
	}
}

func TestPeriodsUseMedian(t *testing.T) {
	times := make([]int64, 200)
	for i := range times {
		times[i] = int64(200 - i)
	}
	times[0] = 2000 // an outlier
	var s Sample
	s.Periods(times)
	if s.Value != 101 || s.Extra[MeanPeriod] != 109.5 || s.Extra[LongPeriod] != 199 {
		t.Errorf("%+v", s)
	}
}

func TestPerThread(t *testing.T) {
	s := PerThread([]int64{1000, 3000}, 100)
	if s.Value != 20 || s.Elapsed != 3000 {
		t.Errorf("1 and 3 us for 100 operations: %v ns/op, %v", s.Value, s.Elapsed)
	}
}

func TestThroughput(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		threads  int
		ns, want float64
	}{{Pair, 1, 5, 200}, {Churn, 4, 8, 500}, {Xfer, 2, 10, 100}, {XMalloc, 8, 10, 400}} {
		if got := c.kind.Throughput(c.threads, c.ns); got != c.want {
			t.Errorf("%s, %d threads of %v ns: %v", c.kind, c.threads, c.ns, got)
		}
	}
}

func TestChunksShowTheTail(t *testing.T) {
	var s Sample
	s.Chunks(nil, 0)
	if s.Extra != nil {
		t.Errorf("without chunks: %v", s.Extra)
	}
	times := make([]int64, 2000)
	for i := range times {
		times[i] = 128
	}
	times[7], times[8], times[1500] = 1280, 12800, 128000
	s.Chunks(times, 128)
	if s.Extra[Tail] != 100 { // the second of 2000
		t.Errorf("%v", s.Extra)
	}
}

func TestPauses(t *testing.T) {
	sum := AddPauses([]Pause{{10, 1}, {30, 2}}, []Pause{{10, 4}, {20, 3}})
	if !slices.Equal(sum, []Pause{{10, 5}, {20, 3}, {30, 2}}) {
		t.Errorf("%v", sum)
	}
	for share, want := range map[float64]float64{0: 10, 0.5: 10, 0.51: 20, 0.8: 20, 0.99: 30, 1: 30} {
		if ns := PauseAt(sum, share); ns != want {
			t.Errorf("%v of the pauses take at most %v ns, not %v", share, ns, want)
		}
	}
	if ns := PauseAt(nil, 0.5); ns != 0 {
		t.Errorf("no pauses take %v ns", ns)
	}
}

func TestNamesOfTraces(t *testing.T) {
	for file, want := range map[string]string{
		"/tmp/kvd.trace.gz": "trace-kvd", "a day--in may.trace": "trace-a-day-in-may", "x.gz": "trace-x", "-": "trace-file", "v1.2": "trace-v1.2",
	} {
		w := OfTrace(file)
		if w.Name != want || w.Kind != Trace || w.Trace != file || !w.Has(Pool) || !w.Has(Jemalloc) || w.Has(Local) || w.Has(CK) {
			t.Errorf("%s: %+v", file, w)
		}
		if KindOf(w.Name) != Trace {
			t.Errorf("%s is of kind %q", w.Name, KindOf(w.Name))
		}
	}
}

// The heap of another Go release has the workloads of Go, and its column beside Go's.
func TestReleases(t *testing.T) {
	for _, w := range Catalog() {
		if w.Has("go1.27.4") != w.Has(Go) {
			t.Errorf("%s: Go has it: %v, another release: %v", w.Name, w.Has(Go), w.Has("go1.27.4"))
		}
	}
	names := []string{Malloc, "go1.27.4", Pool, "go1.25.0", Go, Slubd}
	slices.SortFunc(names, Compare)
	if want := []string{Slubd, Go, "go1.25.0", "go1.27.4", Pool, Malloc}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}
