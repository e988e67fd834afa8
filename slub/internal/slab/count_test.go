package slab

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
)

// NodeStats takes no lock: a holder of the node's lock may call it.
func TestNodeStatsTakesNoLock(t *testing.T) {
	r := open(t, 64, Config{})
	ps := r.take(5)
	r.nodes[0].mu.Lock()
	got := r.NodeStats(0)
	r.nodes[0].mu.Unlock()
	want := NodeStats{Slabs: 1, Partial: 1, Objects: int64(r.perSlab), FreeInSlabs: int64(r.perSlab - 5)}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	r.free(ps...)
}

// Every step that changes how many objects of a slab are out changes the node's count.
func TestFreeObjectsAreCounted(t *testing.T) {
	r := open(t, 64, Config{MinPartial: 2})
	free := func(when string, want int) {
		t.Helper()
		if got := r.NodeStats(0).FreeInSlabs; got != int64(want) {
			t.Errorf("%s: %d free objects are counted, want %d", when, got, want)
		}
		r.counted(when)
	}
	free("without slabs", 0)
	first := r.take(1)
	free("a new slab, carved", r.perSlab-1)
	full := r.take(r.perSlab - 1)
	free("without free objects", 0)
	r.Free(full[0])
	r.Free(full[1])
	free("two freed one by one", 2)
	r.FreeBulk(slices.Clone(full[2:10]))
	free("eight freed at once", 10)
	nowait := r.TakeNoWait(0)
	free("one taken without waiting", 9)
	r.Free(nowait)
	r.Free(nowait)
	free("one freed twice", 10)
	private := r.detach(first[0])
	dst := make([]unsafe.Pointer, 3)
	r.takeFree(private, dst)
	free("a chain taken and its rest returned", 7)
	r.free(dst...)
	r.FreeBulk(full[10:])
	r.Free(first[0])
	free("an empty slab that is kept", r.perSlab)
	r.Free(first[0])
	free("its last object freed twice", r.perSlab)
	if len(r.doubleFrees) != 2 {
		t.Errorf("%d double frees were found, want 2", len(r.doubleFrees))
	}
	r.Shrink()
	free("after Shrink", 0)
}

// The counts of more nodes than one cell of per-CPU memory has room for are apart.
func TestManyNodesAreCountedApart(t *testing.T) {
	const nodes = 2*percpu.MaxCounters + 1
	f, err := newFreeCounts(nodes)
	if err != nil {
		t.Fatal(err)
	}
	defer f.release()
	for i := range nodes {
		f.add(uint8(i), 2*i)
		f.add(uint8(i), -i)
	}
	for i := range nodes {
		if got := f.sum(i); got != int64(i) {
			t.Errorf("node %d: %d, want %d", i, got, i)
		}
	}
}

// Goroutines on two nodes take and free in all ways. Whenever they rest, the counts are those of a
// walk over the slabs.
func TestStressCounts(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	r := open(t, 64, Config{Arena: a, MinPartial: 2})
	const workers, rounds, steps = 4, 20, 200
	held := make([][]unsafe.Pointer, workers)
	for range rounds {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
				for range steps {
					switch node := rnd.IntN(2); rnd.IntN(6) {
					case 0, 1:
						dst := make([]unsafe.Pointer, 1+rnd.IntN(60))
						n, _ := r.Take(node, dst, rnd.IntN(2) == 0)
						held[w] = append(held[w], dst[:n]...)
					case 2:
						if p := r.TakeNoWait(node); p != nil {
							held[w] = append(held[w], p)
						}
					case 3:
						r.Shrink()
					default:
						rnd.Shuffle(len(held[w]), func(i, j int) { held[w][i], held[w][j] = held[w][j], held[w][i] })
						left := len(held[w]) - rnd.IntN(len(held[w])+1)
						r.FreeBulk(held[w][left:])
						held[w] = held[w][:left]
					}
				}
			})
		}
		all.Wait()
		r.counted("when all rest")
		out := 0
		for _, ps := range held {
			out += len(ps)
		}
		one, two := r.NodeStats(0), r.NodeStats(1)
		if free := one.FreeInSlabs + two.FreeInSlabs; one.Objects+two.Objects-free != int64(out) {
			t.Errorf("%+v and %+v, with %d objects out", one, two, out)
		}
	}
	for _, ps := range held {
		r.FreeBulk(ps)
	}
}
