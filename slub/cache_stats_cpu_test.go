package slub_test

import (
	"context"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// The figures of all CPUs add up to those of the cache.
func TestCPUStatsAddUp(t *testing.T) {
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "none": slub.NoSheaves} {
		c := newCache(t, slub.Config{Name: "by-cpu", Size: 64, Flags: flags})
		var ps []unsafe.Pointer
		for range 1000 {
			p, err := c.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		for i, p := range ps {
			switch i % 3 {
			case 0:
				c.Free(p)
			case 1:
				c.FreeRCU(p)
			default:
				c.FreeDeferred(p)
			}
		}
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.Shrink()
		if p, err := c.Alloc(); err != nil {
			t.Fatal(err)
		} else {
			c.Free(p)
		}
		s := c.Stats()
		var events [slub.NumEvents]uint64
		var sheaf uint64
		last := -1
		for _, cpu := range c.CPUStats() {
			if cpu.CPU <= last {
				t.Errorf("%s: CPU %d after %d", name, cpu.CPU, last)
			}
			last = cpu.CPU
			sheaf += uint64(cpu.Main + cpu.Spare)
			for e, n := range cpu.Events {
				events[e] += n
			}
		}
		if events != s.Events || sheaf != s.SheafObjects {
			t.Errorf("%s: %d in sheaves, events\n%v; the cache has %d,\n%v", name, sheaf, events, s.SheafObjects, s.Events)
		}
		if s.InUse != 0 {
			t.Errorf("%s: %d in use", name, s.InUse)
		}
	}
}
