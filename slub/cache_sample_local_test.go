package slub_test

import (
	"math"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

//go:noinline
func hotLocal(t *testing.T, l *slub.Local) unsafe.Pointer { return must(t)(l.Alloc()) }

//go:noinline
func leakyLocal(t *testing.T, l *slub.Local) unsafe.Pointer { return must(t)(l.Alloc()) }

// A Local's allocations are sampled like all others, also those at a site that frees each object at
// once, so that its Local never has to be refilled.
func TestProfileOfLocal(t *testing.T) {
	const name, rate, size, leaked, hot = "of-local", 4096, 64, 10_000, 20
	chance := -math.Expm1(-float64(size) / rate)
	c := newCache(t, slub.Config{Name: name, Size: size, ProfileRate: rate})
	l := newLocal(t, c, 0)
	before := profileOf(name)
	var objs []unsafe.Pointer
	for range leaked {
		objs = append(objs, leakyLocal(t, l))
		for range hot {
			l.Free(hotLocal(t, l))
		}
	}
	p := profileOf(name)
	near(t, "leaky, in use", p["leakyLocal"].InUseObjects, leaked, chance)
	near(t, "hot, allocated", p["hotLocal"].AllocObjects-before["hotLocal"].AllocObjects, leaked*hot, chance)
	if got := p["hotLocal"].InUseObjects; got != 0 {
		t.Errorf("%d objects of the hot site are in use", got)
	}
	if s := c.Stats(); s.InUse != leaked {
		t.Errorf("%d objects are in use, want %d", s.InUse, leaked)
	}
	for _, obj := range objs {
		l.Free(obj)
	}
	l.Close()
	if got, s := inUse(name), c.Stats(); got != 0 || s.InUse != 0 {
		t.Errorf("%d objects are in the profile at the end, %d in use", got, s.InUse)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The objects of a Prefilled are in the profile from when they are lent until they are freed or
// returned, whether they were taken or not, and none that is sampled comes to a sheaf.
func TestProfileOfPrefilled(t *testing.T) {
	const name, rate, size, n, rounds = "of-prefilled", 1024, 64, 50, 300
	chance := -math.Expm1(-float64(size) / rate)
	c := newCache(t, slub.Config{Name: name, Size: size, ProfileRate: rate})
	var kept []unsafe.Pointer
	loan, err := c.Prefill(n)
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		for range n / 2 {
			kept = append(kept, loan.Alloc())
		}
		if round%3 == 0 {
			loan.Return()
			loan, err = c.Prefill(n)
		} else {
			err = loan.Refill(n + round%2*500)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	loan.Return()
	near(t, "in use", inUse(name), int64(len(kept)), chance)
	if s := c.Stats(); s.InUse != uint64(len(kept)) {
		t.Errorf("%d objects are in use, want %d", s.InUse, len(kept))
	}
	for _, obj := range kept {
		c.Free(obj)
	}
	if got, s := inUse(name), c.Stats(); got != 0 || s.InUse != 0 {
		t.Errorf("%d objects are in the profile at the end, %d in use", got, s.InUse)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A Refill that fails leaves the samples of a Prefilled where they are, and all counts.
func TestPrefilledSamplesStay(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const name, n = "samples-stay", 20
	c := newCache(t, slub.Config{Name: name, Size: 64, ProfileRate: everyObject})
	loan, err := c.Prefill(n)
	if err != nil {
		t.Fatal(err)
	}
	held := loan.Len()
	sound := func(when string, want int) {
		t.Helper()
		if s := c.Stats(); inUse(name) != int64(want) || s.InUse != uint64(want) {
			t.Errorf("%s: %d objects are in the profile, %d in use, want %d", when, inUse(name), s.InUse, want)
		}
	}
	sound("after Prefill", held)
	p := loan.Alloc()
	if err := loan.Refill(slub.MaxPrefill + 1); err == nil || loan.Len() != held-1 {
		t.Errorf("Refill: %v, it holds %d, held %d", err, loan.Len(), held-1)
	}
	sound("after Refill", held)
	loan.Return()
	sound("after Return", 1)
	c.Free(p)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// AllocNoWait makes no sample, and counts the one that is missing.
func TestNoWaitIsDropped(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const name, n = "dropped", 10
	for _, flags := range []slub.Flags{0, slub.NoSheaves} {
		c := newCache(t, slub.Config{Name: name, Size: 64, ProfileRate: everyObject, Flags: flags})
		objs := make([]unsafe.Pointer, n)
		if err := c.AllocBulk(objs); err != nil {
			t.Fatal(err)
		}
		before := slub.ProfileDropped()
		for i := range objs {
			q := must(t)(c.AllocNoWait())
			c.Free(objs[i])
			objs[i] = q
		}
		if dropped := slub.ProfileDropped() - before; dropped != n || inUse(name) != 0 {
			t.Errorf("flags %v: %d picks were dropped, %d are in the profile", flags, dropped, inUse(name))
		}
		c.FreeBulk(objs)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
