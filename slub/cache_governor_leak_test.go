// With a sanitizer a cache has no sequences, and a Local is a cache.

//go:build !race && !asan

package slub

import (
	"testing"
	"time"
	"unsafe"
)

// A leak shows in the profile though the CPU was busy before, and took its samples far apart: from
// a cache, by a Local, and of large objects. That the distances are far apart again soon, on a slow
// machine, costs samples, but not all of them.
func TestLeakAfterBusyTime(t *testing.T) {
	rate := processProfileRate
	t.Cleanup(func() { processProfileRate = rate })
	processProfileRate = func() int64 { return defaultProfileRate }
	const size, leaked = 1024, 64 << 20
	for name, by := range map[string]func(c *Cache) (alloc func() (unsafe.Pointer, error), done func()){
		"Cache": func(c *Cache) (func() (unsafe.Pointer, error), func()) { return c.Alloc, func() {} },
		"Local": func(c *Cache) (func() (unsafe.Pointer, error), func()) {
			l, err := c.NewLocal(0)
			if err != nil {
				t.Fatal(err)
			}
			return l.Alloc, l.Close
		},
	} {
		t.Run(name, func(t *testing.T) {
			setLevels(t, maxLevel, maxLevel)
			c, err := New(nil, Config{Name: "busy-" + name, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			alloc, done := by(c)
			var kept []unsafe.Pointer
			leak := func(bytes int) {
				for range bytes / size {
					p, err := alloc()
					if err != nil {
						t.Fatal(err)
					}
					kept = append(kept, p)
				}
			}
			leak(1 << 20) // every stack that it uses is armed with the large distance
			for i := range pace.cpus {
				cpu := &pace.cpus[i]
				for _, p := range []*cpuPace{&cpu.samples, &cpu.guards} {
					p.last.Store(int64(time.Since(begin) - time.Hour))
					p.cost.Store(1000)
				}
			}
			pace.relax()
			leak(leaked)
			samples := 0
			for _, r := range ReadProfile() {
				if r.Cache == c.name && r.InUseBytes > 0 {
					samples++
				}
			}
			// As long as one is taken the site has a record. None of the first 64 MiB is, by the
			// distance of 32 GiB, in 998 of 1000 runs.
			if samples == 0 {
				t.Error("the profile has no sample")
			}
			for _, p := range kept {
				c.Free(p)
			}
			done()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
