//go:build linux && !race

package nodemem

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// words is a value of five lines, which take the room of six.
type words [40]uint64

// perChunk is how many of them a chunk has room for.
const perChunk = chunkSize / (3 * Align)

// An owner is what values belong to.
type owner struct{ values []*words }

// A fakeMachine notes which pages are to lie on which node.
type fakeMachine struct {
	*machine
	refuses bool
	mu      sync.Mutex
	nodeOf  map[uintptr]numa.Node // by page
	chunks  int
}

func newFake(t *testing.T) *fakeMachine {
	f := &fakeMachine{nodeOf: map[uintptr]numa.Node{}}
	f.machine = newMachine(func(node numa.Node, addr, n uintptr) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.refuses {
			return false
		}
		f.chunks++
		for page := addr; page < addr+n; page += mem.PageSize {
			if other, ok := f.nodeOf[page]; ok {
				t.Errorf("the page at %#x is bound to node %d, then to %d", page, other, node)
			}
			f.nodeOf[page] = node
		}
		return true
	})
	return f
}

// on returns the node of a value; numa.NoNode for Go's heap.
func (f *fakeMachine) on(v *words) numa.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node, ok := f.nodeOf[mem.AlignDown(addrOf(v), mem.PageSize)]; ok {
		return node
	}
	return numa.NoNode
}

func addrOf(v *words) uintptr { return uintptr(unsafe.Pointer(v)) }

// made makes an owner with a value for each of the nodes' indexes, and uses the values.
func made(t *testing.T, nodes *Nodes, n int) *owner {
	t.Helper()
	o := new(owner)
	o.values = Make[words](nodes, n, o)
	for i, v := range o.values {
		if *v != (words{}) {
			t.Fatalf("value %d at %p is not zeroed: %v", i, v, *v)
		}
		for k := range v {
			v[k] = ^uint64(0)
		}
	}
	return o
}

// collected waits until the collector has brought the values back that nothing refers to.
func (f *fakeMachine) collected(t *testing.T, want int) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		got, _ := f.usage()
		if got == want {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%d values are in use after a minute, want %d", got, want)
		}
	}
}

// TestMake: each value lies on its node, aligned, apart from all others, and zeroed. Values of
// nodes that have no memory lie in Go's heap.
func TestMake(t *testing.T) {
	f := newFake(t)
	on := []numa.Node{3, 1, numa.NoNode, 3}
	nodes := f.nodes(on)
	seen := map[uintptr]bool{}
	var owners []*owner
	for range 2 * perChunk {
		o := made(t, nodes, len(on)+1) // one more index than there are nodes
		owners = append(owners, o)
		for i, v := range o.values {
			want := numa.NoNode
			if i < len(on) {
				want = on[i]
			}
			if got := f.on(v); got != want {
				t.Fatalf("value %d lies on node %d, want %d", i, got, want)
			}
			if want != numa.NoNode && addrOf(v)%Align != 0 {
				t.Fatalf("value %d lies at %p", i, v)
			}
			for at := addrOf(v); at < addrOf(v)+unsafe.Sizeof(*v); at += mem.CacheLine {
				if line := mem.AlignDown(at, mem.CacheLine); seen[line] && want != numa.NoNode {
					t.Fatalf("value %d shares the line at %#x", i, line)
				} else {
					seen[line] = true
				}
			}
		}
	}
	if got, want := f.inUse, 3*len(owners); got != want {
		t.Errorf("%d slots are in use, want %d", got, want)
	}
	runtime.KeepAlive(owners)
}

// TestNoNodes: without nodes to choose from all values lie in Go's heap.
func TestNoNodes(t *testing.T) {
	f := newFake(t)
	for _, on := range [][]numa.Node{nil, {0}, {numa.NoNode, numa.NoNode}} {
		nodes := f.nodes(on)
		if nodes != nil {
			t.Errorf("%v: %+v", on, nodes)
		}
		made(t, nodes, 3)
	}
	if f.chunks > 0 {
		t.Errorf("%d chunks were mapped", f.chunks)
	}
}

// TestReuse: the slots of values whose owner is gone are used again, zeroed, and those of others
// are not, however often the collector runs.
func TestReuse(t *testing.T) {
	f := newFake(t)
	nodes := f.nodes([]numa.Node{0, 1})
	live := made(t, nodes, 2)
	gone := map[uintptr]bool{}
	for _, v := range made(t, nodes, 2).values {
		gone[addrOf(v)] = true
	}
	f.collected(t, 2)
	var after []*owner
	for range 3 {
		o := made(t, nodes, 2)
		after = append(after, o)
		for i, v := range o.values {
			if v == live.values[i] {
				t.Fatalf("value %d is that of a live owner", i)
			}
			delete(gone, addrOf(v))
		}
	}
	if len(gone) > 0 {
		t.Errorf("%d slots are not used again", len(gone))
	}
	for i, v := range live.values {
		if v[0] != ^uint64(0) {
			t.Errorf("value %d of a live owner was cleared", i)
		}
	}
	runtime.KeepAlive(live)
	runtime.KeepAlive(after)
}

// TestBoundedMemory: owners that come and go leave no memory behind but a chunk of each node.
func TestBoundedMemory(t *testing.T) {
	f := newFake(t)
	nodes := f.nodes([]numa.Node{0, 1})
	var peak []*owner
	for range 5*perChunk + 3 {
		peak = append(peak, made(t, nodes, 2))
	}
	if _, bytes := f.usage(); bytes < 10*chunkSize {
		t.Errorf("%d bytes for five chunks of two nodes", bytes)
	}
	mapped := f.chunks
	// One in each chunk stays, so that none can go. The others make room for as many.
	var stay []*owner
	for i := 0; i < len(peak); i += perChunk {
		stay = append(stay, peak[i])
	}
	clear(peak)
	f.collected(t, 2*len(stay))
	for range 4 * perChunk {
		peak = append(peak, made(t, nodes, 2))
	}
	if f.chunks != mapped {
		t.Errorf("%d chunks are mapped, and %d were for more values", f.chunks, mapped)
	}
	clear(peak)
	clear(stay)
	f.collected(t, 0)
	if _, bytes := f.usage(); bytes > 2*chunkSize {
		t.Errorf("%d bytes without a value", bytes)
	}
	for range 5 * perChunk {
		peak = append(peak, made(t, nodes, 2)) // made looks that they are zeroed
	}
	if f.chunks != mapped {
		t.Errorf("%d chunks are mapped, and %d were for more values", f.chunks, mapped)
	}
	runtime.KeepAlive(peak)
}

// TestRefused: where the kernel refuses to map or to place memory, values lie in Go's heap, and the
// next ones try again.
func TestRefused(t *testing.T) {
	f := newFake(t)
	nodes := f.nodes([]numa.Node{0, 1})
	inHeap := func(why string, o *owner, from int) {
		t.Helper()
		for i, v := range o.values {
			if got := f.on(v); (got == numa.NoNode) != (i >= from) {
				t.Errorf("%s: value %d lies on node %d", why, i, got)
			}
		}
	}
	f.refuses = true
	var owners []*owner
	keep := func(o *owner) *owner { owners = append(owners, o); return o }
	inHeap("mbind", keep(made(t, nodes, 2)), 0)
	f.refuses = false
	restore := sys.FailNth(sys.CallReserve, 2, syscall.ENOMEM)
	inHeap("mmap", keep(made(t, nodes, 2)), 1)
	restore()
	inHeap("neither", keep(made(t, nodes, 2)), 2)
	type large [chunkSize/8 + 1]uint64
	if v := Make[large](nodes, 1, keep(new(owner))); f.on((*words)(unsafe.Pointer(v[0]))) != numa.NoNode {
		t.Error("a value that is larger than a chunk lies in one")
	}
	if f.inUse != 3 || f.chunks != 2 {
		t.Errorf("%d slots of %d chunks are in use, want 3 of 2", f.inUse, f.chunks)
	}
	runtime.KeepAlive(owners)
}

// TestKeptByTheKernel: slots of a chunk that the kernel doesn't take back are used again, zeroed.
func TestKeptByTheKernel(t *testing.T) {
	f := newFake(t)
	nodes := f.nodes([]numa.Node{0, 1})
	var owners []*owner
	for range 2 * perChunk {
		owners = append(owners, made(t, nodes, 2))
	}
	defer sys.FailNth(sys.CallDiscard, 0, syscall.EINVAL)()
	clear(owners)
	f.collected(t, 0)
	for i := range owners {
		owners[i] = made(t, nodes, 2)
	}
	if f.chunks != 4 {
		t.Errorf("%d chunks, want 4", f.chunks)
	}
	runtime.KeepAlive(owners)
}

// TestStress makes values and drops them on several goroutines. Each value holds its owner's number
// as long as the owner lives.
func TestStress(t *testing.T) {
	f := newFake(t)
	nodes := f.nodes([]numa.Node{0, 1, 0})
	var number atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var owners [64]*owner
			for i := range testutil.Stress(t, 20_000) {
				o := &owners[i%len(owners)]
				if *o != nil {
					want := (*o).values[0][0]
					for _, v := range (*o).values {
						if v[0] != want || v[39] != want {
							t.Errorf("a value holds %d and %d, want %d", v[0], v[39], want)
							return
						}
					}
				}
				*o = made(t, nodes, 3)
				mine := number.Add(1)
				for _, v := range (*o).values {
					v[0], v[39] = mine, mine
				}
				if i%4000 == 0 {
					runtime.GC()
				}
			}
		})
	}
	wg.Wait()
	f.collected(t, 0)
}

// TestAnyNode: memory of nodes that this machine doesn't have is not of its own machine's chunks.
func TestAnyNode(t *testing.T) {
	restore := AnyNode()
	if !MayPlace(false) || New([]numa.Node{0, 1000}).machine != everyNode {
		t.Error("node 1000 is unknown")
	}
	restore()
	if MayPlace(false) || !MayPlace(true) || New([]numa.Node{0, 1}).machine != theMachine {
		t.Error("any node stays")
	}
}

// TestNUMAValuesLieOnTheirNode asks the kernel.
func TestNUMAValuesLieOnTheirNode(t *testing.T) {
	topology := numa.System()
	var on []numa.Node
	for _, n := range topology.Nodes() {
		if topology.HasMemory(n) {
			on = append(on, n, n) // twice, so that one node will do
		}
	}
	page, err := sys.Reserve(mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	if !bind(on[0], page, mem.PageSize) {
		testutil.NeedHost(t, "mbind(2)", "a kernel with NUMA", syscall.EPERM)
	}
	_ = sys.Unmap(page, mem.PageSize)
	nodes := New(on)
	var owners []*owner
	var addrs []uintptr
	for range 200 {
		o := made(t, nodes, len(on))
		owners = append(owners, o)
		for _, v := range o.values {
			addrs = append(addrs, addrOf(v))
		}
	}
	where, err := numa.Where(addrs)
	testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
	for i, got := range where {
		if want := on[i%len(on)]; got != want && got != numa.NoNode { // NoNode: it is being moved
			t.Fatalf("value %d lies on node %d, want %d", i, got, want)
		}
	}
	runtime.KeepAlive(owners)
}
