//go:build linux && !race

package slub_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/slub"
)

// TestNodeMemory: a cache has a barn and a list of slabs in memory of each node, until it is closed
// and nothing refers to it any more.
func TestNodeMemory(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 3)})
	before, _ := nodemem.Usage()
	for range 50 {
		taken := nodemem.Taken()
		c, err := slub.New(a, slub.Config{Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		if n := nodemem.Taken() - taken; n != 6 {
			t.Fatalf("a cache has %d values in memory of three nodes, want 6", n)
		}
		freeAll(c, take(t, c, 100))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if now, _ := nodemem.Usage(); now <= before {
			break
		}
		if time.Since(start) > time.Minute {
			now, _ := nodemem.Usage()
			t.Fatalf("%d values of closed caches are still in use after a minute", now-before)
		}
	}
}
