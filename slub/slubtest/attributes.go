package slubtest

import (
	"math/rand/v2"
	"path"
	"sync"
	"testing"
)

// attributes say which of the calls that a test is asked for are hit. (Kernel: struct fault_attr,
// Documentation/fault-injection.)
type attributes struct {
	cache       string
	nth         int
	probability float64
	interval    int
	times       int
	space       int64
	seed        uint64
}

// check fails the test for a pattern or a number that makes no sense.
func (a attributes) check(t testing.TB, what string) {
	t.Helper()
	if _, err := path.Match(a.cache, ""); err != nil {
		t.Fatalf("slubtest: %s: pattern %q of caches: %v", what, a.cache, err)
	}
	if a.nth < 0 || a.interval < 0 || a.times < 0 || a.space < 0 || !(a.probability >= 0 && a.probability <= 1) {
		t.Fatalf("slubtest: %s: a number is negative, or a probability above 1", what)
	}
}

// A draw decides for one call after the other. Any goroutine.
type draw struct {
	attributes
	mu    sync.Mutex // a leaf
	space int64      // bytes left before the first hit
	rng   *rand.Rand
	calls int
	hits  int
}

func newDraw(a attributes) *draw {
	return &draw{attributes: a, space: a.space, rng: rand.New(rand.NewPCG(a.seed, 0))}
}

// hit reports whether a call for that many bytes is hit. (Kernel: should_fail_ex.)
func (d *draw) hit(cache string, bytes int64) bool {
	if ok, _ := path.Match(d.cache, cache); d.cache != "" && !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if !d.hitLocked(bytes) {
		return false
	}
	d.hits++
	return true
}

func (d *draw) hitLocked(bytes int64) bool {
	if d.nth > 0 {
		return d.calls == d.nth
	}
	if d.space >= bytes && d.attributes.space > 0 {
		d.space -= bytes
		return false
	}
	d.space = 0
	switch {
	case d.times > 0 && d.hits >= d.times:
		return false
	case d.interval > 1 && d.calls%d.interval != 0:
		return false
	case d.probability > 0 && d.rng.Float64() >= d.probability:
		return false
	}
	return true
}

// counts returns how many calls there were, and how many of them were hit.
func (d *draw) counts() (calls, hits int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls, d.hits
}
