package slubtest_test

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/slubtest"
)

// pattern allocates n objects, and returns which allocations have failed, counted from 1.
func pattern(t *testing.T, c *slub.Cache, n int) (failed []int) {
	t.Helper()
	for i := range n {
		p, err := c.Alloc()
		if err == nil {
			c.Free(p)
			continue
		}
		if !errors.Is(err, slub.ErrNoMemory) || p != nil {
			t.Fatalf("Alloc returns %p, %v", p, err)
		}
		failed = append(failed, i+1)
	}
	return failed
}

// Each of the attributes says which allocations fail.
func TestFailAlloc(t *testing.T) {
	for name, k := range map[string]struct {
		faults slubtest.Faults
		want   []int
	}{
		"all":              {slubtest.Faults{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		"third":            {slubtest.Faults{Nth: 3}, []int{3}},
		"every fourth":     {slubtest.Faults{Interval: 4}, []int{4, 8}},
		"twice":            {slubtest.Faults{Times: 2}, []int{1, 2}},
		"after 200 bytes":  {slubtest.Faults{Space: 200}, []int{4, 5, 6, 7, 8, 9, 10}},
		"of this cache":    {slubtest.Faults{Cache: "fail*", Times: 1}, []int{1}},
		"of another cache": {slubtest.Faults{Cache: "other"}, nil},
		"together":         {slubtest.Faults{Interval: 2, Times: 3, Space: 128}, []int{4, 6, 8}},
	} {
		i := slubtest.FailAlloc(t, k.faults)
		c := newCache(t, slub.Config{Name: "failing", Size: 64})
		if got := pattern(t, c, 10); !slices.Equal(got, k.want) || i.Failed() != len(k.want) {
			t.Errorf("%s: %v fail, want %v; Failed is %d", name, got, k.want, i.Failed())
		}
		i.Stop()
		if got := pattern(t, c, 10); got != nil {
			t.Errorf("%s: %v fail after Stop", name, got)
		}
		if s := c.Stats(); s.InUse != 0 || s.AllocFailures != uint64(len(k.want)) {
			t.Errorf("%s: %d in use, %d failures", name, s.InUse, s.AllocFailures)
		} else if n := s.Failures[slub.FailedOther]; n != s.AllocFailures {
			t.Errorf("%s: %d failures, %d by reason", name, s.AllocFailures, n)
		}
		closed(t, c)
	}
}

// With a probability about that share fails, and the same with the same seed.
func TestFailAllocProbability(t *testing.T) {
	const n = 2000
	var first []int
	for range 2 {
		i := slubtest.FailAlloc(t, slubtest.Faults{Probability: 0.2, Seed: 7})
		c := newCache(t, slub.Config{Name: "failing", Size: 64})
		failed := pattern(t, c, n)
		if len(failed) < n/5-125 || len(failed) > n/5+125 { // seven standard deviations
			t.Errorf("%d of %d fail", len(failed), n)
		}
		if first != nil && !slices.Equal(failed, first) {
			t.Error("a second run with the same seed has other failures")
		}
		first = failed
		i.Stop()
		closed(t, c)
	}
}

// Every way to allocate can fail, once for each call, and loses nothing.
func TestFailAllocWays(t *testing.T) {
	i := slubtest.FailAlloc(t, slubtest.Faults{})
	c := newCache(t, slub.Config{Name: "failing", Size: 64})
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "fails"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.NewLocal(0)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for name, alloc := range map[string]func() error{
		"Alloc":       func() error { _, err := c.Alloc(); return err },
		"AllocZero":   func() error { _, err := c.AllocZero(); return err },
		"AllocNode":   func() error { _, err := c.AllocNode(c.Arena().Topology().Nodes()[0]); return err },
		"NoNode":      func() error { _, err := c.AllocNode(numa.NoNode); return err },
		"AllocBulk":   func() error { return c.AllocBulk(make([]unsafe.Pointer, 10)) },
		"AllocNoWait": func() error { _, err := c.AllocNoWait(); return err },
		"Prefill":     func() error { _, err := c.Prefill(3); return err },
		"Local":       func() error { _, err := l.Alloc(); return err },
		"Malloc":      func() error { _, err := b.Malloc(100); return err },
		"Bytes":       func() error { _, err := b.Bytes(100); return err },
		"MallocZero":  func() error { _, err := b.MallocZero(100); return err },
		"large":       func() error { _, err := b.Malloc(2 << 20); return err },
		"mapping":     func() error { _, err := b.Malloc(8 << 20); return err },
	} {
		calls++
		if err := alloc(); !errors.Is(err, slub.ErrNoMemory) && !errors.Is(err, slub.ErrWouldBlock) {
			t.Errorf("%s returns %v", name, err)
		}
		if i.Calls() != calls {
			t.Errorf("%s was asked for %d times", name, i.Calls()-calls+1)
			calls = i.Calls()
		}
	}
	if p, err := slub.Malloc(100); err != nil {
		t.Errorf("slub.Malloc returns %v", err)
	} else {
		slub.Free(p)
	}
	i.Stop()
	l.Close()
	closed(t, c)
	closed(t, b)
}

// Faults that make no sense fail the test.
func TestBadFaults(t *testing.T) {
	for _, bad := range []slubtest.Faults{{Cache: "["}, {Nth: -1}, {Interval: -1}, {Times: -1}, {Space: -1}, {Probability: 1.1}, {Probability: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v is accepted", bad)
				}
			}()
			slubtest.FailAlloc(new(fake), bad)
		}()
	}
}
