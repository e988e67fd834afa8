//go:build linux && !race

package slub_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// TestNUMAAllocNodeIsTrue: where the kernel won't place memory on a node, AllocNode and MallocNode
// return ErrPlacement instead of another node's memory. Where it places none at all but tells where
// pages lie, those of the CPU's own node succeed, since its CPUs touch them first. Where it doesn't
// tell that either, none does. With numa.Off nothing is asked. With one node there is nothing to
// ask.
func TestNUMAAllocNodeIsTrue(t *testing.T) {
	topology, memory := machine(t)
	if len(memory) < 2 {
		return
	}
	own, cpu := numa.NoNode, 0
	for _, n := range memory {
		if cpus := topology.CPUs(n); own == numa.NoNode && len(cpus) > 0 {
			own, cpu = n, cpus[0]
		}
	}
	for _, c := range []struct {
		name       string
		refused    []sys.Call
		strictness numa.Strictness
		own, other bool // succeed
	}{
		{name: "granted", own: true, other: true},
		{name: "mbind refused", refused: []sys.Call{sys.CallMbind}, own: true},
		{name: "mbind and move_pages refused", refused: []sys.Call{sys.CallMbind, sys.CallNodesOf}, own: true},
		{name: "nothing told", refused: []sys.Call{sys.CallNodesOf, sys.CallReadNumaMaps}},
		{name: "off", strictness: numa.Off, own: true, other: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, call := range c.refused {
				defer sys.FailNth(call, 0, syscall.EPERM)()
			}
			a := newArena(t, arena.Config{Topology: topology, Span: 64 * mib, Strictness: c.strictness, Observe: arena.None})
			cache := open(t, a, slub.Config{Size: 192})
			b := openBuckets(t, a, slub.BucketsConfig{})
			pinned(t, cpu, func() {
				for _, node := range memory {
					var want error
					if node == own && !c.own || node != own && !c.other {
						want = slub.ErrPlacement
					}
					p, err := cache.AllocNode(node)
					same(t, "AllocNode", err, want)
					var reason *arena.PlacementError
					if err == nil {
						cache.Free(p)
					} else if !errors.As(err, &reason) || reason.Node != node || !errors.Is(err, slub.ErrNoMemory) {
						t.Errorf("AllocNode(%d): %v", node, err)
					}
					for kind, n := range kinds {
						p, err := b.MallocNode(n, node)
						if same(t, "MallocNode of a "+kind, err, want); err == nil {
							b.Free(p)
						}
					}
				}
			})
		})
	}
}
