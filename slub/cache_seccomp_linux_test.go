//go:build !race

package slub_test

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// TestNUMAUnderSeccomp has a seccomp filter refuse system calls, as a container's profile does.
// AllocNode and MallocNode give memory of the node, according to the kernel where it tells, or
// ErrPlacement. The arena's statistics, which the metrics have as they are, say what was refused.
func TestNUMAUnderSeccomp(t *testing.T) {
	const refused = "first-touch: mbind: operation not permitted"
	for name, c := range map[string]struct {
		calls     []uintptr
		placement string
		observed  string
		others    bool // nodes but the CPU's own can be had
	}{
		"move_pages": {[]uintptr{syscall.SYS_MOVE_PAGES}, "bound", numa.SourceNumaMaps, true},
		"mbind":      {[]uintptr{syscall.SYS_MBIND}, refused, numa.SourceMovePages, false},
		"both":       {[]uintptr{syscall.SYS_MBIND, syscall.SYS_MOVE_PAGES}, refused, numa.SourceNumaMaps, false},
		"docker": {[]uintptr{syscall.SYS_MBIND, syscall.SYS_MOVE_PAGES, syscall.SYS_GET_MEMPOLICY, syscall.SYS_SET_MEMPOLICY},
			refused, numa.SourceNumaMaps, false},
	} {
		t.Run(name, func(t *testing.T) {
			if !testutil.Child(t) {
				return
			}
			testutil.NeedHost(t, "seccomp", "linux-image-amd64", sys.RefuseCalls(c.calls...))
			topology, memory := machine(t)
			own := memory[0]
			for _, n := range memory {
				if len(topology.CPUs(n)) > 0 {
					own = n
				}
			}
			a := newArena(t, arena.Config{Topology: topology, Span: 64 * mib})
			cache := open(t, a, slub.Config{Size: 192})
			b := openBuckets(t, a, slub.BucketsConfig{})
			pinned(t, topology.CPUs(own)[0], func() {
				for _, node := range memory {
					var want error
					if node != own && !c.others {
						want = slub.ErrPlacement
					}
					var ps []unsafe.Pointer
					for range 100 {
						p, err := cache.AllocNode(node)
						if same(t, "AllocNode", err, want); err == nil {
							ps = append(ps, p)
							defer cache.Free(p)
						}
					}
					for kind, n := range kinds {
						p, err := b.MallocNode(n, node)
						if same(t, "MallocNode of a "+kind, err, want); err == nil {
							ps = append(ps, p)
							defer b.Free(p)
						}
					}
					inMaps(t, node, ps)
				}
			})
			s := a.Stats()
			if by := s.ObservedBy; len(memory) > 1 && by != c.observed {
				t.Errorf("placement is observed by %q (%s), want %q", by, s.NotObserved, c.observed)
			}
			for _, n := range s.Nodes {
				if !strings.HasPrefix(n.Placement, c.placement) {
					t.Errorf("node %d: placement %q, want %q", n.Node, n.Placement, c.placement)
				}
			}
		})
	}
}

// inMaps touches objects and fails unless the mappings that they are in have pages on the node, and
// on no other one, according to /proc/self/numa_maps.
func inMaps(t *testing.T, node numa.Node, ps []unsafe.Pointer) {
	t.Helper()
	for _, p := range ps {
		*(*byte)(p) = 1
	}
	text, err := os.ReadFile("/proc/self/numa_maps")
	if err != nil {
		t.Fatal(err)
	}
	type mapping struct {
		start uintptr
		line  string
		nodes []numa.Node
	}
	var mappings []mapping // ascending
	for line := range strings.Lines(string(text)) {
		m := mapping{line: line}
		if _, err := fmt.Sscanf(line, "%x", &m.start); err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(line) {
			var on numa.Node
			if n, _ := fmt.Sscanf(word, "N%d=", &on); n == 1 {
				m.nodes = append(m.nodes, on)
			}
		}
		mappings = append(mappings, m)
	}
	for _, p := range ps {
		i := sort.Search(len(mappings), func(i int) bool { return mappings[i].start > uintptr(p) })
		if m := mappings[i-1]; !slices.Equal(m.nodes, []numa.Node{node}) {
			t.Fatalf("%p of node %d is in the mapping %s", p, node, m.line)
		}
	}
}
