package slub

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// A report of a write after a free that doesn't return, as without a Report hook, loses nothing:
// whatever operation met the object, the caller has none, and the cache can be closed.
func TestWriteAfterFreeThatPanics(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("the sanitizer reports the write itself")
	}
	const n = 100
	hooked := hooks.Hooks{Alloc: func(hooks.Object) {}}
	for name, test := range map[string]struct {
		hooks hooks.Hooks
		alloc func(*Cache) // panics, unless it has not met the object yet
	}{
		"Alloc":               {alloc: func(c *Cache) { c.Alloc() }},
		"Alloc with a hook":   {hooks: hooked, alloc: func(c *Cache) { c.Alloc() }},
		"AllocZero":           {alloc: func(c *Cache) { c.AllocZero() }},
		"AllocNoWait":         {alloc: func(c *Cache) { c.AllocNoWait() }},
		"AllocNode":           {alloc: func(c *Cache) { c.AllocNode(0) }},
		"AllocBulk":           {alloc: bulkOf(t, 5)},
		"AllocBulk of many":   {alloc: bulkOf(t, 3*n)},
		"bulk with a hook":    {hooks: hooked, alloc: bulkOf(t, 5)},
		"Prefilled":           {alloc: func(c *Cache) { takeLent(t, c) }},
		"Prefill with a hook": {hooks: hooked, alloc: func(c *Cache) { takeLent(t, c) }},
	} {
		t.Run(name, func(t *testing.T) {
			stay(t)
			c := open(t, nil, Config{Name: "victim", Size: 64, Hardened: On, Hooks: test.hooks})
			ps := take(t, c, n)
			freeAll(c, ps)
			for _, p := range ps {
				*(*byte)(unsafe.Add(p, 50)) = 1
			}
			panics := 0
			for range 4 * n {
				if !returns(func() { test.alloc(c) }) {
					panics++
				}
			}
			// AllocNoWait may have failed.
			if panics == 0 || c.Stats().InUse > uint64(4*n-panics)*inUseOf(name) {
				t.Errorf("%d reports; %d objects are in use", panics, c.Stats().InUse)
			}
			freeLive(c)
			var r *hooks.Report // about what no operation has met
			if err := c.Close(); err != nil && (!errors.As(err, &r) || r.Kind != hooks.WriteAfterFree) {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// inUseOf is how many objects an operation of the test leaves in use if it returns.
func inUseOf(name string) uint64 {
	switch name {
	case "AllocBulk", "AllocBulk of many", "bulk with a hook", "Prefilled", "Prefill with a hook":
		return 0
	}
	return 1
}

// returns reports whether f returns.
func returns(f func()) (ok bool) {
	defer func() { recover() }()
	f()
	return true
}

// bulkOf allocates n objects at once and frees them. If that panics, the caller has none.
func bulkOf(t *testing.T, n int) func(*Cache) {
	return func(c *Cache) {
		dst := make([]unsafe.Pointer, n)
		defer func() {
			for _, p := range dst {
				if p != nil {
					t.Fatalf("AllocBulk panics, and leaves %p to its caller", p)
				}
			}
		}()
		if err := c.AllocBulk(dst); err == nil {
			c.FreeBulk(dst)
		}
		clear(dst)
	}
}

// takeLent allocates all objects that Prefill lends, and frees them.
func takeLent(t *testing.T, c *Cache) {
	lent, err := c.Prefill(10)
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Return()
	for p := lent.Alloc(); p != nil; p = lent.Alloc() {
		c.Free(p)
	}
}

// TestLinkIntoAnObject: a link that was written over, and leads into the middle of an object, is no
// sound one.
func TestLinkIntoAnObject(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("the sanitizer reports the write itself")
	}
	c := open(t, nil, Config{Size: 64, Hardened: On, Flags: NoSheaves})
	ps := take(t, c, 5)
	freeAll(c, ps[1:])
	top := uintptr(ps[4])
	if !c.slabs.SoundLink(top) {
		t.Error("the link of a free object is no sound one")
	}
	at := (*byte)(unsafe.Add(ps[4], c.layout.fp))
	for bit := range 6 {
		*at ^= 1 << bit
		if c.slabs.SoundLink(top) {
			t.Errorf("a link with bit %d changed is a sound one", bit)
		}
		*at ^= 1 << bit
	}
	freeAll(c, ps[:1])
}
