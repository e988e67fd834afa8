package slab

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// graces are grace periods that end when the test says so.
type graces struct {
	mu      sync.Mutex
	waiting []func()
}

func (g *graces) after(f func()) {
	g.mu.Lock()
	g.waiting = append(g.waiting, f)
	g.mu.Unlock()
}

// end ends those that have begun, and returns how many callbacks there were.
func (g *graces) end() int {
	g.mu.Lock()
	ready := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	for _, f := range ready {
		f()
	}
	return len(ready)
}

// A tally is a Backlog that only adds up.
type tally struct{ bytes, most, checks int64 }

func (b *tally) Charge(bytes int64)  { b.bytes += bytes; b.most = max(b.most, b.bytes) }
func (b *tally) Release(bytes int64) { b.bytes -= bytes }
func (b *tally) CheckSoftLimit()     { b.checks++ }

// openTypesafe makes a rig whose empty slabs are all retired, and are back when the test ends.
func openTypesafe(t *testing.T, cfg Config) (*rig, *graces) {
	t.Helper()
	g := new(graces)
	cfg.AfterGracePeriod, cfg.MinPartial = g.after, arena.None
	r := open(t, 512, cfg)
	t.Cleanup(func() {
		r.Shrink()
		for g.end() > 0 {
		}
		if n := r.Retired(); n != 0 {
			t.Errorf("%d slabs are retired at the end", n)
		}
	})
	return r, g
}

// state compares what is counted of the slabs with what there should be.
func (r *rig) state(when string, slabs, retired int64) {
	r.t.Helper()
	r.counted(when)
	if n := r.NodeStats(0); n.Slabs != slabs || n.Retired != retired || r.Retired() != retired {
		r.t.Errorf("%s: %+v, want %d slabs and %d retired", when, n, slabs, retired)
	}
	if used := r.arena.InUse(); used != (slabs+retired)*mem.PageSize<<r.Slabs.order {
		r.t.Errorf("%s: %d bytes of the arena are used by %d slabs and %d retired ones", when, used, slabs, retired)
	}
}

// Slabs that wait for a grace period which never ends are used again: what waits doesn't grow. They
// are the cache's as before, with all their objects.
func TestRetiredSlabsAreUsedAgain(t *testing.T) {
	log := new(tally)
	r, _ := openTypesafe(t, Config{Order: 1, Backlog: log})
	const slabs = 5
	seen := map[unsafe.Pointer]bool{}
	for round := range 10 {
		ps := r.take(slabs * r.perSlab)
		r.state("in use", slabs, 0)
		for _, p := range ps {
			if page, _ := r.arena.PageOf(uintptr(p)); r.arena.Owner(page) != owner.Of(r.id, 0) {
				t.Fatalf("round %d: an object's page has the owner %#x", round, r.arena.Owner(page))
			}
			if round > 0 && !seen[p] {
				t.Fatalf("round %d: %p is new", round, p)
			}
			seen[p] = true
		}
		if log.bytes != 0 {
			t.Errorf("round %d: %d bytes wait while all are in use", round, log.bytes)
		}
		r.FreeBulk(ps)
		r.state("free", 0, slabs)
		if want := int64(slabs * 2 * mem.PageSize); log.bytes != want || log.most != want || log.checks != int64(slabs*(round+1)) {
			t.Errorf("round %d: %+v, want %d bytes", round, *log, want)
		}
		for p := range seen {
			if page, _ := r.arena.PageOf(uintptr(p)); r.arena.Owner(page) != owner.Retired {
				t.Fatalf("round %d: the page of a retired slab has the owner %#x", round, r.arena.Owner(page))
			}
		}
	}
	if len(seen) != slabs*r.perSlab {
		t.Errorf("%d different objects, want %d", len(seen), slabs*r.perSlab)
	}
}

// A slab is given back after a grace period that began after it was retired, however often it was
// retired and used again, and there is one callback at a time.
func TestRetiredSlabsWaitForTheirGracePeriod(t *testing.T) {
	log := new(tally)
	r, g := openTypesafe(t, Config{Backlog: log})
	full := r.fullSlabs(3)
	r.FreeBulk(full[0])
	r.FreeBulk(full[1])
	r.FreeBulk(full[2])
	if n := len(g.waiting); n != 1 {
		t.Errorf("%d callbacks for three slabs", n)
	}
	g.end()
	r.state("the first has waited", 0, 2)
	again := r.take(2 * r.perSlab)
	r.state("the others are used again", 2, 0)
	r.FreeBulk(again[:r.perSlab])
	r.FreeBulk(again[r.perSlab:])
	r.state("and retired again", 0, 2)
	g.end()
	r.state("the callback of before has run", 0, 2)
	if g.end() != 1 {
		t.Error("no callback, or several")
	}
	r.state("their own has run", 0, 0)
	if log.bytes != 0 || len(g.waiting) != 0 {
		t.Errorf("%d bytes wait, %d callbacks", log.bytes, len(g.waiting))
	}
	r.FreeBulk(r.take(r.perSlab)) // of a new slab
	r.state("another one", 0, 1)
	g.end()
	r.state("has waited", 0, 0)
}

// A slab counts as retired until the arena has its pages: Close waits for no more than that.
func TestRetiredUntilPagesAreBack(t *testing.T) {
	var r *rig
	uncharged := 0
	r, g := openTypesafe(t, Config{Charge: func(int64) error { return nil }, Uncharge: func(int64) {
		if uncharged++; r.Retired() == 0 {
			t.Error("no slab is retired while the last one is given back")
		}
	}})
	r.FreeBulk(r.take(r.perSlab))
	if g.end(); uncharged != 1 || r.Retired() != 0 {
		t.Errorf("%d runs were given back, %d slabs are retired", uncharged, r.Retired())
	}
}

// A slab that could not be prepared goes back at once: it has no chain, and no reader has seen it.
// It leaves no trace in the counts.
func TestUnpreparedSlabIsNotRetired(t *testing.T) {
	fail := true
	r, g := openTypesafe(t, Config{OnNewSlab: func(Ref) {
		if fail {
			panic("unprepared")
		}
	}})
	func() {
		defer func() { _ = recover() }()
		r.take(1)
	}()
	r.state("after a failure", 0, 0)
	if len(g.waiting) != 0 {
		t.Error("a callback is queued")
	}
	fail = false
	ps := r.take(r.perSlab - 1)
	if n := r.NodeStats(0).FreeInSlabs; n != 1 {
		t.Errorf("%d free objects are counted, want 1", n)
	}
	r.FreeBulk(ps)
}

// TakeNoWait finds a retired slab: it waits for nothing.
func TestNoWaitTakesFromRetired(t *testing.T) {
	r, _ := openTypesafe(t, Config{})
	r.FreeBulk(r.take(r.perSlab))
	p := r.TakeNoWait(0)
	if p == nil {
		t.Fatal("nothing")
	}
	r.state("one is out", 1, 0)
	r.Free(p)
	r.state("it is back", 0, 1)
}

// Of another node's retired slabs objects are taken when there is no memory for new ones, unless
// the caller is strict.
func TestRetiredSlabsOfOtherNodes(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t), Limit: 2 * mem.PageSize})
	r, _ := openTypesafe(t, Config{Arena: a})
	r.FreeBulk(r.takeFrom(1, 2*r.perSlab, true))
	if n := r.NodeStats(1); n.Retired != 2 {
		t.Fatalf("%+v", n)
	}
	dst := make([]unsafe.Pointer, 2*r.perSlab)
	if n, err := r.Take(0, dst, true); n != 0 || err == nil {
		t.Errorf("strict: %d objects, %v", n, err)
	}
	n, err := r.Take(0, dst, false)
	if n != len(dst) || err != nil {
		t.Errorf("%d objects, %v", n, err)
	}
	r.FreeBulk(dst[:n])
}

// A slab of less than the preferred order is marked as such when it is used again.
func TestRetiredFallbackSlab(t *testing.T) {
	r, _ := openTypesafe(t, Config{Arena: newArena(t, arena.Config{Limit: mem.PageSize}), Order: 3})
	n := mem.PageSize / 512
	for range 3 {
		ps := r.take(n)
		page, _ := r.arena.PageOf(uintptr(ps[0]))
		if got := r.arena.Owner(page); got != owner.Of(r.id, 0)|owner.NonDefaultOrder {
			t.Errorf("owner %#x", got)
		}
		r.FreeBulk(ps)
		if got := r.arena.Owner(page); got != owner.Retired {
			t.Errorf("owner of a retired slab %#x", got)
		}
	}
}

// Goroutines take and free in all ways while grace periods end. No object has two owners, and
// whenever they rest the counts are right. What they write is atomic: the cache, and not its slabs,
// tells the race detector of the order between two owners.
func TestStressRetired(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	r, g := openTypesafe(t, Config{Arena: a})
	const workers, rounds, steps = 3, 10, 150
	held := make([][]unsafe.Pointer, workers)
	for range rounds {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
				keep := func(ps ...unsafe.Pointer) {
					for _, p := range ps {
						atomic.StoreUint64((*uint64)(p), uint64(uintptr(p))+uint64(w))
					}
					held[w] = append(held[w], ps...)
				}
				for range steps {
					switch node := rnd.IntN(2); rnd.IntN(7) {
					case 0, 1:
						dst := make([]unsafe.Pointer, 1+rnd.IntN(30))
						n, _ := r.Take(node, dst, rnd.IntN(2) == 0)
						keep(dst[:n]...)
					case 2:
						if p := r.TakeNoWait(node); p != nil {
							keep(p)
						}
					case 3:
						g.end()
					default:
						rnd.Shuffle(len(held[w]), func(i, j int) { held[w][i], held[w][j] = held[w][j], held[w][i] })
						left := rnd.IntN(len(held[w]) + 1)
						for _, p := range held[w][left:] {
							if got := atomic.LoadUint64((*uint64)(p)); got != uint64(uintptr(p))+uint64(w) {
								t.Errorf("%p reads %#x", p, got)
							}
						}
						r.FreeBulk(held[w][left:])
						held[w] = held[w][:left]
					}
				}
			})
		}
		all.Wait()
		r.counted("when all rest")
	}
	for _, ps := range held {
		r.FreeBulk(ps)
	}
}
