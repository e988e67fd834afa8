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
		"batch-1000-shuffled", "churn", "mix", "xfer", "bulk", "prefill", "rcu", "gc", "gc-linked", "resident",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestOnlySomeWorkloadsExcludeAllocators(t *testing.T) {
	for _, w := range Catalog() {
		only := w.Kind == RCU || w.WholeHeap()
		if w.Has(TCMalloc) == only {
			t.Errorf("%s: tcmalloc takes part: %v", w.Name, !only)
		}
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

func TestPerThread(t *testing.T) {
	s := PerThread([]int64{1000, 3000}, 100)
	if s.Value != 20 || s.Elapsed != 3000 {
		t.Errorf("1 and 3 us for 100 operations: %v ns/op, %v", s.Value, s.Elapsed)
	}
}
