package slub_test

import (
	"context"
	"fmt"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// clearFlags are the flags that make a cache clear objects.
var clearFlags = map[string]slub.Flags{"InitOnAlloc": slub.InitOnAlloc, "InitOnFree": slub.InitOnFree,
	"both": slub.InitOnAlloc | slub.InitOnFree}

// nodeWays are the ways to allocate that ask for a node, of a machine with nodes 0 and 1.
func nodeWays() map[string]func(*testing.T, *slub.Cache, int) []unsafe.Pointer {
	all := map[string]func(*testing.T, *slub.Cache, int) []unsafe.Pointer{}
	for name, way := range ways {
		all[name] = way
	}
	all["AllocNode of another node"] = each(func(c *slub.Cache) (unsafe.Pointer, error) { return c.AllocNode(1) })
	all["PrefillNode of another node"] = lent(func(c *slub.Cache, n int) (*slub.Prefilled, error) { return c.PrefillNode(n, 1) })
	return all
}

// Whatever way an object of the own node or another one takes from its user to the next one, it
// arrives cleared. The ways take turns with each other, so that one's objects are the next one's.
func TestObjectsArriveCleared(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	for flags, flag := range clearFlags {
		for _, size := range []int64{8, 52, 136, 3000} {
			t.Run(fmt.Sprintf("%s/%d", flags, size), func(t *testing.T) {
				cfg := smallSheaves(slub.Config{Size: size, Flags: flag})
				c := open(t, a, cfg)
				pinned(t, 0, func() {
					for in, way := range nodeWays() {
						for out, back := range backs {
							ps := way(t, c, beyondSheaves)
							for _, p := range ps {
								if !zeroed(p, uintptr(size)) {
									t.Fatalf("%s before %s: %p holds % x", in, out, p, mem.Bytes(uintptr(p), uintptr(size)))
								}
								paint(p, uintptr(size), 7)
							}
							back(c, ps)
						}
					}
				})
				same(t, "Barrier", c.Barrier(context.Background()), nil)
				wantExchanges(t, a, cfg, ways["Alloc"])
			})
		}
	}
}

// With InitOnFree the content of an object is gone when Free returns, also of one of another node,
// and after a grace period for FreeRCU.
func TestFreedObjectsAreCleared(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	if sanitized {
		return // free objects must not be read
	}
	const size = 136
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	for _, node := range []numa.Node{0, 1} {
		for out, back := range backs {
			t.Run(fmt.Sprintf("%s/node %d", out, node), func(t *testing.T) {
				cfg := smallSheaves(slub.Config{Size: size, Flags: slub.InitOnFree})
				c := open(t, a, cfg)
				fp := freePointerOf(c)
				way := each(func(c *slub.Cache) (unsafe.Pointer, error) { return c.AllocNode(node) })
				pinned(t, 0, func() {
					for range 3 {
						ps := way(t, c, beyondSheaves)
						for _, p := range ps {
							paint(p, size, 7)
						}
						back(c, ps)
						for _, p := range ps {
							if !zeroed(p, fp) || !zeroed(unsafe.Add(p, fp+8), size-fp-8) {
								t.Fatalf("%p holds % x", p, mem.Bytes(uintptr(p), size))
							}
						}
					}
				})
				wantExchanges(t, a, cfg, way)
			})
		}
	}
}

// A free that InitOnFree's cache refuses writes nothing: not into another cache's object, nor into
// its own object behind a pointer that leads into it, nor into memory of the program.
func TestRefusedFreeClearsNothing(t *testing.T) {
	const size = 96
	a := newArena(t, arena.Config{})
	for flags, flag := range clearFlags {
		c := openRecorder(t, a, slub.Config{Size: size, Flags: flag})
		other := open(t, a, slub.Config{Size: size})
		mine, theirs := take(t, c.Cache, 1)[0], take(t, other, 1)[0]
		program := unsafe.Pointer(new([size]byte))
		for name, bad := range map[string]struct {
			p, object unsafe.Pointer
			kind      hooks.Kind
		}{
			"another cache":      {theirs, theirs, hooks.WrongCache},
			"inside its object":  {unsafe.Add(mine, 8), mine, hooks.MisalignedPointer},
			"inside another's":   {unsafe.Add(theirs, 8), theirs, hooks.WrongCache},
			"the program's heap": {program, program, hooks.ForeignPointer},
		} {
			for out, free := range frees {
				if out == "Prefilled.Free" { // takes nothing in such caches, see below
					continue
				}
				paint(bad.object, size, 3)
				c.Reports = nil
				free(c.Cache, bad.p)
				same(t, "Barrier", c.Barrier(context.Background()), nil)
				if len(c.Reports) != 1 || c.Reports[0].Kind != bad.kind {
					t.Errorf("%s, %s, %s: reports %v", flags, out, name, c.Reports)
				}
				if !painted(bad.object, size, 3) {
					t.Errorf("%s, %s, %s: it has written % x", flags, out, name, mem.Bytes(uintptr(bad.object), size))
				}
			}
		}
		c.Free(mine)
		other.Free(theirs)
	}
}

// Without sheaves a slab finds out that an object is freed twice in a row. InitOnFree must not have
// destroyed the link to the objects behind it by then.
func TestClearingSparesLinks(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	c := openRecorder(t, nil, slub.Config{Size: 64, Flags: slub.InitOnFree | slub.NoSheaves})
	ps := take(t, c.Cache, 3)
	c.Free(ps[0])
	c.Free(ps[1])
	c.Free(ps[1])
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.DoubleFree {
		t.Errorf("reports %v", c.Reports)
	}
	c.Reports = nil
	again := take(t, c.Cache, 2)
	if len(c.Reports) != 0 || again[0] != ps[1] || again[1] != ps[0] {
		t.Errorf("got %v after %v, reports %v", again, ps, c.Reports)
	}
	freeAll(c.Cache, again)
	c.Free(ps[2])
}

// What a Prefilled gets back it hands out as it is. So it takes no object of a cache that clears
// them, unless the objects have marks: then it clears them.
func TestPrefilledTakesOnlyCleared(t *testing.T) {
	for flags, flag := range clearFlags {
		c := open(t, nil, slub.Config{Size: 64, Flags: flag})
		pre := prefill(t, c, 4)
		p := pre.Alloc()
		if paint(p, 64, 1); pre.Free(p) {
			if !checked {
				t.Errorf("%s: a prefilled sheaf took an object", flags)
				continue
			}
			if p = pre.Alloc(); !zeroed(p, 64) {
				t.Errorf("%s: a prefilled sheaf hands out % x", flags, mem.Bytes(uintptr(p), 64))
			}
		}
		pre.Return()
		c.Free(p)
	}
}
