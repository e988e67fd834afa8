package slub_test

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// The tests of this file ask the kernel how much of what programs allocate is local, in each of a
// few patterns that move objects from node to node.

// A placement is one cache and what it has allocated so far, by pages: the shares are those of
// objects, and the kernel is asked once for each page.
type placement struct {
	t        *testing.T
	topology *numa.Topology
	cache    *slub.Cache
	way      way
	nodes    map[uintptr]numa.Node // by page, as the kernel says
	objects  int                   // allocated
	remote   map[numa.Node]int     // of these by the node that they should lie on
}

// A way is how objects are allocated and freed.
type way struct {
	name  string
	alloc func(*slub.Cache, []unsafe.Pointer) error
	free  func(*slub.Cache, []unsafe.Pointer)
}

func allocOneByOne(c *slub.Cache, dst []unsafe.Pointer) (err error) {
	for i := 0; i < len(dst) && err == nil; i++ {
		dst[i], err = c.Alloc()
	}
	return err
}

func freeOneByOne(free func(*slub.Cache, unsafe.Pointer)) func(*slub.Cache, []unsafe.Pointer) {
	return func(c *slub.Cache, objs []unsafe.Pointer) {
		for _, p := range objs {
			free(c, p)
		}
	}
}

var numaWays = []way{
	{"Free", allocOneByOne, freeOneByOne((*slub.Cache).Free)},
	{"FreeBulk", (*slub.Cache).AllocBulk, (*slub.Cache).FreeBulk},
	{"FreeRCU", allocOneByOne, freeOneByOne((*slub.Cache).FreeRCU)},
	{"FreeDeferred", allocOneByOne, freeOneByOne((*slub.Cache).FreeDeferred)},
}

// openPlacement returns a placement, and a CPU of each node that has some: the last one.
func openPlacement(t *testing.T, w way) (p *placement, cpus []int) {
	topology := numa.System()
	p = &placement{t: t, topology: topology, way: w, nodes: map[uintptr]numa.Node{}, remote: map[numa.Node]int{}}
	p.cache = open(t, newArena(t, arena.Config{Topology: topology, Span: 64 * mib}),
		slub.Config{Size: 256, Domain: new(rcu.Domain), RCUDelay: time.Millisecond})
	for _, n := range topology.Nodes() {
		if on := topology.CPUs(n); len(on) > 0 {
			cpus = append(cpus, on[len(on)-1])
		}
	}
	return p, cpus
}

// on runs f on a CPU.
func (p *placement) on(cpu int, f func()) {
	p.t.Helper()
	pinned(p.t, cpu, f)
}

// alloc returns n objects, allocated on the CPU by the placement's way.
func (p *placement) alloc(cpu, n int) (objs []unsafe.Pointer) {
	p.t.Helper()
	objs = make([]unsafe.Pointer, n)
	p.on(cpu, func() { same(p.t, "allocation", p.way.alloc(p.cache, objs), nil) })
	p.look(cpu, objs)
	return objs
}

// free frees objects on a CPU, and lets grace periods end.
func (p *placement) free(cpu int, objs []unsafe.Pointer) {
	p.t.Helper()
	p.on(cpu, func() { p.way.free(p.cache, objs) })
	if p.way.name == "FreeRCU" {
		same(p.t, "Barrier", p.cache.Barrier(p.t.Context()), nil)
	}
}

// look notes where objects lie that a CPU has allocated.
func (p *placement) look(cpu int, objs []unsafe.Pointer) {
	p.t.Helper()
	var pages []uintptr
	for _, obj := range objs {
		*(*byte)(obj) = 1
		page := mem.AlignDown(uintptr(obj), mem.PageSize)
		if _, known := p.nodes[page]; !known {
			p.nodes[page] = numa.NoNode
			pages = append(pages, page)
		}
	}
	where := nodesOf(p.t, pages)
	for i, page := range pages {
		p.nodes[page] = where[i]
	}
	p.objects += len(objs)
	want := p.topology.LocalNode(cpu)
	for _, obj := range objs {
		if p.nodes[mem.AlignDown(uintptr(obj), mem.PageSize)] != want {
			p.remote[want]++
		}
	}
}

// check fails if more than 1 % of what was allocated was remote.
func (p *placement) check() {
	p.t.Helper()
	remote := 0
	for _, n := range p.remote {
		remote += n
	}
	if remote*100 > p.objects {
		p.t.Errorf("%d of %d objects were remote when they were allocated; by the node that they should be on: %v",
			remote, p.objects, p.remote)
	}
}

// inEveryWay runs a pattern as a subtest for each way, with a CPU of each node, and the first one
// once more: on a machine with one node it has two CPUs, which are the same.
func inEveryWay(t *testing.T, pattern func(*placement, []int)) {
	for _, w := range numaWays {
		t.Run(w.name, func(t *testing.T) {
			if !placed(t) {
				return
			}
			p, cpus := openPlacement(t, w)
			pattern(p, append(cpus, cpus[0]))
			p.check()
		})
	}
}

// placed reports whether a CPU's node is known. On a machine with one node it is, in any case.
func placed(t *testing.T) bool {
	t.Helper()
	engine, _ := slub.Engine()
	if engine == "trylock" && numa.System().NodeCount() > 1 {
		t.Log("without rseq a CPU is only guessed: placement is best effort, and not checked")
		return false
	}
	return true
}

// TestNUMATable: a table whose entries all CPUs replace, so that most objects die on another node
// than the one they were born on.
func TestNUMATable(t *testing.T) {
	inEveryWay(t, func(p *placement, cpus []int) {
		const step = 100
		table := p.alloc(cpus[0], 6*step)
		for range 4 {
			for _, cpu := range cpus {
				rand.Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
				p.free(cpu, append([]unsafe.Pointer(nil), table[:step]...))
				copy(table, p.alloc(cpu, step))
			}
		}
		p.free(cpus[0], table)
	})
}

// TestNUMAPhases: each node in turn fills and frees nine of ten objects. The next node finds many
// partial slabs of those before it.
func TestNUMAPhases(t *testing.T) {
	inEveryWay(t, func(p *placement, cpus []int) {
		var keep []unsafe.Pointer
		for _, cpu := range cpus {
			objs := p.alloc(cpu, 2000)
			rand.Shuffle(len(objs), func(i, j int) { objs[i], objs[j] = objs[j], objs[i] })
			p.free(cpu, objs[200:])
			live := p.alloc(cpu, 200)
			for range 3 {
				p.free(cpu, live[:100])
				copy(live, p.alloc(cpu, 100))
			}
			keep = append(append(keep, objs[:200]...), live...)
		}
		p.free(cpus[0], keep)
	})
}

// TestNUMAProducer: one node allocates, the next one frees.
func TestNUMAProducer(t *testing.T) {
	inEveryWay(t, func(p *placement, cpus []int) {
		for i, producer := range cpus[1:] {
			for range 5 {
				p.free(cpus[i], p.alloc(producer, 150))
			}
		}
	})
}

// TestNUMAProducers: both nodes of a pair allocate, and each frees what the other one has.
func TestNUMAProducers(t *testing.T) {
	inEveryWay(t, func(p *placement, cpus []int) {
		for i, a := range cpus[1:] {
			b := cpus[i]
			for range 3 {
				ofA, ofB := p.alloc(a, 150), p.alloc(b, 150)
				p.free(a, ofB)
				p.free(b, ofA)
			}
		}
	})
}

// TestNUMAPrefilled: prefilled sheaves are borrowed on one node, half used, and returned on the
// next one, whose allocations must not find them.
func TestNUMAPrefilled(t *testing.T) {
	if !placed(t) {
		return
	}
	p, cpus := openPlacement(t, numaWays[0])
	cpus = append(cpus, cpus[0])
	for i, borrower := range cpus[1:] {
		returner := cpus[i]
		for round := range 4 {
			var loan *slub.Prefilled
			p.on(borrower, func() { loan = prefill(t, p.cache, 40) })
			objs := make([]unsafe.Pointer, 20)
			for i := range objs {
				objs[i] = loan.Alloc()
			}
			p.look(borrower, objs)
			p.on(returner, func() {
				if round%2 == 0 {
					p.cache.Shrink() // its stack has room for a sheaf
				}
				loan.Return()
			})
			p.free(borrower, append(objs, p.alloc(returner, 100)...))
		}
	}
	p.check()
}
