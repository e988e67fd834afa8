package workload

import (
	"slices"
	"testing"
)

func TestCatalogNamesAreUniqueAndComplete(t *testing.T) {
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
		"batch-1000-shuffled", "churn", "mix", "xfer", "bulk", "prefill", "rcu", "gc", "larson", "mstress", "rptest",
		"xmalloc", "sh6", "sh8", "alloc-test", "cache-scratch", "cache-thrash", "malloc-mix", "gc-linked", "gc-map", "resident",
		"rcu-read", "rcu-map-90-9-1", "rcu-map-50-50", "rcu-enter", "freercu-flood", "gp-latency", "gp-expedited",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestOnlySomeWorkloadsExcludeAllocators(t *testing.T) {
	for _, w := range Catalog() {
		only := w.Kind == RCU || w.Kind.ByRCU() || w.WholeHeap()
		if w.Has(TCMalloc) == only {
			t.Errorf("%s: tcmalloc takes part: %v", w.Name, !only)
		}
	}
}

func TestSyncPoolStaysOutOfMalloc(t *testing.T) {
	for _, w := range Catalog() {
		if w.Kind.ByMalloc() && (w.Has(Pool) || !w.Has(Go) || !w.Has(Jemalloc)) {
			t.Errorf("%s is for %v", w.Name, w.Allocs)
		}
	}
}

func TestRivalsStayAmongThemselves(t *testing.T) {
	for _, w := range Catalog() {
		for _, entrant := range []string{URCU, CK, SyncMap, Sharded} {
			if w.Has(entrant) && !w.Kind.ByRCU() && w.Kind != GCMap {
				t.Errorf("%s takes part in %s", entrant, w.Name)
			}
			if Native(entrant) {
				t.Errorf("%s counts as an allocator", entrant)
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

func TestReadersLeaveThreadsTheirCPUs(t *testing.T) {
	for _, c := range []struct {
		kind          Kind
		threads, cpus int
		busy, asleep  int
	}{
		{Pair, 1, 4, 0, 0}, {RCURead, 1, 4, 0, 0}, {RCUMap, 1, 4, 0, 0},
		{RCU, 1, 2, 1, 0}, {FreeRCUFlood, 1, 4, 3, 0}, {FreeRCUFlood, 2, 2, 0, 2}, {FreeRCUFlood, 8, 2, 0, 2},
		{GPLatency, 1, 1, 2, 0}, {GPExpedited, 1, 4, 2, 0}, {GPLatency, 1, 8, 2, 0},
	} {
		r := Spec{Kind: c.kind, Threads: c.threads}.Readers(c.cpus)
		if r.Count != c.busy+c.asleep || (r.Sleep > 0) != (c.asleep > 0) || (r.Section > 0) != (c.busy > 0) {
			t.Errorf("%s, %d threads on %d CPUs: %+v", c.kind, c.threads, c.cpus, r)
		}
	}
}

func TestSizesAreDistributedAsTheySay(t *testing.T) {
	for _, c := range []struct {
		kind          Kind
		low, high     uint32
		median, least uint32 // of the sizes; the least that the median may be
	}{
		{Mix, 16, 1024, 256, 128},
		{Larson, 8, 1000, 510, 500},
		{MStress, 16, 1024, 128, 128},
		{RPTest, 8, 16_000, 4800, 4600},
		{SH6, 8, 1000, 310, 290},
		{AllocTest, 8, 1024, 16, 15},
		{MallocMix, 8, 8192, 260, 250},
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

func TestByClassSortsBySizeAsked(t *testing.T) {
	list := ByClass([]uint32{8, 9, 16, 8192}, []uint32{8, 16, 16, 8192})
	want := map[uint32]ClassBytes{8: {8, 8, 8}, 16: {16, 25, 32}, 8192: {8192, 8192, 8192}}
	for _, c := range list {
		if c != want[c.Class] && (c.Asked != 0 || c.Given != 0) {
			t.Errorf("%+v", c)
		}
	}
	if len(list) != len(Classes()) {
		t.Errorf("%d classes of %d", len(list), len(Classes()))
	}
}

func TestIndicesAreTheOrdersTheyClaim(t *testing.T) {
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

func TestDrawCoversItsRange(t *testing.T) {
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

func TestWithOpsMakesWholeBatches(t *testing.T) {
	s := Spec{Batch: 32}.WithOps(100)
	if s.Ops != 128 || s.Warm != 32 {
		t.Errorf("100 operations in batches of 32 became %d and %d", s.Ops, s.Warm)
	}
	if s := (Spec{}).WithOps(0); s.Ops != 1 || s.Warm != 1 {
		t.Errorf("0 operations became %d and %d", s.Ops, s.Warm)
	}
}

func TestPairsOfXferAreCountedOnce(t *testing.T) {
	s := Spec{Kind: Xfer, Threads: 2, Ops: 64}
	if s.Pairs() != 64 {
		t.Errorf("one producer, one consumer, 64 objects: %d pairs", s.Pairs())
	}
	s.Kind = Pair
	if s.Pairs() != 128 {
		t.Errorf("two threads, 64 pairs each: %d pairs", s.Pairs())
	}
}

func TestPeriodsAreTheirMedian(t *testing.T) {
	times := make([]int64, 200)
	for i := range times {
		times[i] = int64(200 - i)
	}
	times[0] = 2000 // one that was long
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
