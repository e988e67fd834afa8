package slubtest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/slubtest"
)

// delayedBy returns how many slow paths of the kind f takes, and fails the test if f did not wait
// for each of them.
func delayedBy(t *testing.T, path slubtest.SlowPath, cache string, f func()) int {
	t.Helper()
	const by = time.Microsecond
	d := slubtest.DelaySlowPaths(t, slubtest.Delays{By: by, Paths: path, Cache: cache})
	defer d.Stop()
	start := time.Now()
	f()
	if took := time.Since(start); took < time.Duration(d.Delayed())*by {
		t.Errorf("%v for %d delays of %v", took, d.Delayed(), by)
	}
	if d.Calls() != d.Delayed() {
		t.Errorf("%d of %d are delayed", d.Delayed(), d.Calls())
	}
	return d.Delayed()
}

// Each slow path takes longer, and that of a pair which the sheaves serve does not.
func TestDelaySlowPaths(t *testing.T) {
	const n = 2000
	c := newCache(t, slub.Config{Name: "slow", Size: 64})
	plain := newCache(t, slub.Config{Name: "slow", Size: 64, Flags: slub.NoSheaves})
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	objs := make([]unsafe.Pointer, n)
	few, one := make([]unsafe.Pointer, 50), make([]unsafe.Pointer, 1)
	alloc := func(c *slub.Cache, objs []unsafe.Pointer) {
		for i := range objs {
			if objs[i], err = c.Alloc(); err != nil {
				t.Fatal(err)
			}
		}
	}
	free := func(c *slub.Cache, objs []unsafe.Pointer) {
		for _, p := range objs {
			c.Free(p)
		}
	}
	var large unsafe.Pointer
	for _, k := range []struct {
		name        string
		path        slubtest.SlowPath
		least, most int
		f           func()
	}{
		{"slabs", slubtest.NewSlab, n / 64, n, func() { alloc(c, objs); free(c, objs); c.Shrink() }},
		{"objects for sheaves", slubtest.Refill, 1, n / 4, func() { alloc(c, objs) }},
		{"objects of sheaves", slubtest.Flush, 1, n / 4, func() { free(c, objs); c.Shrink() }},
		{"a pair", 0, 0, 0, func() { alloc(c, one); free(c, one) }},
		{"objects for the caller", slubtest.Refill, 50, 50, func() { alloc(plain, few) }},
		{"objects of the caller", slubtest.Flush, 50, 50, func() { free(plain, few) }},
		{"a bulk", slubtest.Flush, 1, 1, func() { alloc(plain, few); plain.FreeBulk(few) }},
		{"what is reclaimed", slubtest.Reclaim, 1, n, func() {
			alloc(c, one)
			c.FreeRCU(one[0])
			if err := c.Barrier(context.Background()); err != nil {
				t.Error(err)
			}
		}},
		{"a run", slubtest.Large, 1, 1, func() { large, err = b.MallocZero(2 << 20) }},
		{"its free", slubtest.Large, 1, 1, func() { b.Free(large) }},
	} {
		got := delayedBy(t, k.path, "slow*", k.f)
		if k.name == "a pair" {
			// A CPU's sheaves may lack an object, or room, for a few pairs. The goroutine may move.
			slow := 0
			for range 20 * runtime.NumCPU() {
				slow += min(1, delayedBy(t, k.path, "slow*", k.f))
			}
			got = max(0, slow-4*runtime.NumCPU())
		}
		if got < k.least || got > k.most {
			t.Errorf("%s: %d delays, want %d to %d", k.name, got, k.least, k.most)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := delayedBy(t, 0, "other", func() { alloc(plain, one); free(plain, one) }); got != 0 {
		t.Errorf("%d delays of a cache with another name", got)
	}
	closed(t, c)
	closed(t, plain)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// The attributes say which slow paths take longer, and Stop ends it.
func TestDelaySlowPathsAttributes(t *testing.T) {
	c := newCache(t, slub.Config{Name: "slow", Size: 64, Flags: slub.NoSheaves})
	for name, k := range map[string]struct {
		delays slubtest.Delays
		want   int
	}{
		"all":          {slubtest.Delays{}, 10},
		"third":        {slubtest.Delays{Nth: 3}, 1},
		"every fourth": {slubtest.Delays{Interval: 4}, 2},
		"twice":        {slubtest.Delays{Times: 2}, 2},
		"never":        {slubtest.Delays{Probability: 1e-12}, 0},
	} {
		k.delays.Paths = slubtest.Refill
		d := slubtest.DelaySlowPaths(t, k.delays)
		for range 10 {
			p, err := c.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			c.Free(p)
		}
		d.Stop()
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		c.Free(p)
		if d.Delayed() != k.want || d.Calls() != 10 {
			t.Errorf("%s: %d of %d are delayed, want %d of 10", name, d.Delayed(), d.Calls(), k.want)
		}
	}
	closed(t, c)
}

// What makes no sense fails the test.
func TestDelaySlowPathsRefuses(t *testing.T) {
	for want, delays := range map[string]slubtest.Delays{
		`pattern "["`:                     {Cache: "["},
		"there are no paths 0b10000000":   {Paths: slubtest.Refill | 1<<7},
		"By is negative: -1ms":            {By: -time.Millisecond},
		"DelaySlowPaths: a number is neg": {Nth: -1},
		"or a probability above 1":        {Probability: 1.5},
	} {
		text := func() (text string) {
			defer func() { text = fmt.Sprint(recover()) }()
			slubtest.DelaySlowPaths(&fake{TB: t}, delays)
			return ""
		}()
		if !strings.Contains(text, want) {
			t.Errorf("%+v: %s, want %q", delays, text, want)
		}
	}
}
