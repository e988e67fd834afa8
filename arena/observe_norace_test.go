//go:build linux && !race

package arena

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// A fakeKernel has the nodes of a made-up topology: it grants policies, and says where pages lie
// and moves them, as far as it is told to.
type fakeKernel struct {
	mu      sync.Mutex
	tree    fstest.MapFS
	lies    map[uintptr]numa.Node // page -> node
	mems    []numa.Node           // the cpuset's
	refuse  error                 // of bind
	deaf    error                 // of observe and where
	immoble bool                  // pages don't move
	slow    bool                  // a look at pages takes longer than a run may move some
	binds   int
	moves   int
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{lies: map[uintptr]numa.Node{}, mems: []numa.Node{0, 1}, tree: testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30}, testutil.SysNode{ID: 1, CPUs: []int{1}, Memory: 1 << 30})}
}

func (k *fakeKernel) view() *kernelView {
	return &kernelView{
		bind: func(_ *backing, p numa.Policy, addr, n uintptr) (numa.Placement, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.binds++
			if k.refuse != nil && p.Nodes[0] == 1 {
				return numa.Placement{Reason: k.refuse.Error()}, nil
			}
			return numa.Placement{Outcome: numa.Bound}, nil
		},
		observe: func(samples []numa.Sample) (seen []numa.Observed, source string, err error) {
			if k.slow {
				time.Sleep(2 * mendTime)
			}
			for _, s := range samples {
				where, err := k.where(s.Pages)
				if err != nil {
					return nil, "", err
				}
				o := numa.Observed{}
				for _, n := range where {
					if n != numa.NoNode {
						o[n]++
					}
				}
				seen = append(seen, o)
			}
			return seen, numa.SourceMovePages, nil
		},
		where: k.where,
		has:   func(numa.Node) bool { return true },
		move: func(addrs []uintptr, node numa.Node) (there int, err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.moves++
			for _, addr := range addrs {
				if !k.immoble {
					k.lies[addr] = node
					there++
				}
			}
			return there, nil
		},
		allowed: func() ([]numa.Node, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return slices.Clone(k.mems), nil
		},
	}
}

func (k *fakeKernel) where(addrs []uintptr) ([]numa.Node, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	where := make([]numa.Node, len(addrs))
	for i, addr := range addrs {
		node, ok := k.lies[addr]
		if !ok {
			node = numa.NoNode
		}
		where[i] = node
	}
	return where, k.deaf
}

// put has the kernel say that a run's pages lie on the node.
func (k *fakeKernel) put(a *Arena, run Run, node numa.Node) Run {
	k.putBytes(a.Addr(run.Page), run.bytes(), node)
	return run
}

func (k *fakeKernel) putBytes(addr, n uintptr, node numa.Node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at := addr; at < addr+n; at += mem.PageSize {
		k.lies[at] = node
	}
}

// count returns how many of a run's pages lie on the node.
func (k *fakeKernel) count(addr, bytes uintptr, node numa.Node) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at := addr; at < addr+bytes; at += mem.PageSize {
		if lies, ok := k.lies[at]; ok && lies == node {
			n++
		}
	}
	return n
}

// free says how much memory of node 1 is free.
func (k *fakeKernel) free(bytes int64) {
	k.tree["devices/system/node/node1/meminfo"] = testutil.Text(
		fmt.Sprintf("Node 1 MemTotal: 1048576 kB\nNode 1 MemFree: %d kB", bytes>>10))
}

// openObserved makes an arena on the fake kernel's nodes. Its timer doesn't run by itself: tests
// call observed.
func openObserved(t *testing.T, k *fakeKernel, cfg Config) *Arena {
	t.Helper()
	if cfg.Observe == 0 {
		cfg.Observe = time.Hour
	}
	cfg.Topology, cfg.kernelView = load(t, k.tree), k.view()
	return open(t, cfg)
}

// TestPlacementIsObserved: a run of the timer finds pages on other nodes, and says how many of each
// node there are. A few make no error, many do, and the log tells it once.
func TestPlacementIsObserved(t *testing.T) {
	k, text := newFakeKernel(), &bytes.Buffer{}
	k.free(0)
	a := openObserved(t, k, Config{Logger: slog.New(slog.NewTextHandler(text, nil))})
	text.Reset()
	near := k.put(a, alloc(t, a, 5, 0), 0)
	far := k.put(a, alloc(t, a, 5, 1), 1)
	alloc(t, a, 3, 1) // never touched: it lies nowhere
	defer func() {
		for _, run := range []Run{near, far, {Page: far.Page + 1<<5}} {
			a.Free(run.Page)
		}
	}()
	for _, c := range []struct{ wrong, misplaced int64 }{{0, 0}, {2, 2 * 40 / 32}, {16, 20}, {16, 20}, {1, 1}, {0, 0}} {
		k.put(a, far, 1)
		k.put(a, Run{Page: far.Page, Pages: uint32(c.wrong)}, 0)
		a.observed()
		many := c.wrong > 32/misplacedPart
		s := a.Stats()
		n := s.Nodes[1]
		if n.Sampled != 32 || n.Elsewhere != c.wrong || n.Misplaced != c.misplaced || n.MisplacedShare() != float64(c.wrong)/32 {
			t.Errorf("%d of 32 on another node: %+v", c.wrong, n)
		}
		if n := s.Nodes[0]; n.Sampled != 32 || n.Elsewhere != 0 || n.Misplaced != 0 || n.Placement != "bound" {
			t.Errorf("node 0: %+v", n)
		}
		if got := strings.HasSuffix(n.Placement, reasonElsewhere); got != many || s.ObservedBy != numa.SourceMovePages {
			t.Errorf("%d of 32 on another node: placement %q, by %q", c.wrong, n.Placement, s.ObservedBy)
		}
		err := a.PlacementError(1)
		if (err != nil) != many || a.PlacementError(0) != nil {
			t.Errorf("%d of 32 on another node: %v, node 0: %v", c.wrong, err, a.PlacementError(0))
		}
		if many && (!errors.Is(err, ErrPlacement) || !errors.Is(err, ErrNoMemory) || err.Node != 1 || err.FirstTouch) {
			t.Errorf("error %+v", err)
		}
	}
	if lines := strings.Count(text.String(), "\n"); lines != 2 || strings.Count(text.String(), "node=1") != 2 {
		t.Errorf("logged %s", text)
	}
	if k.moves != 0 {
		t.Error("pages were moved to a node without room")
	}
}

// TestPagesComeHome: what fell to another node while its own was full is moved once there is room:
// runs, and mappings in use or kept. Free blocks on the wrong node are discarded, others stay.
func TestPagesComeHome(t *testing.T) {
	k := newFakeKernel()
	k.free(0)
	a := openObserved(t, k, Config{Span: 32 * mib, MaxDirty: Unlimited})
	const runs = 5
	var held, freed []Run
	for range runs {
		held = append(held, k.put(a, alloc(t, a, 9, 1), 0))
		freed = append(freed, k.put(a, alloc(t, a, 9, 1), 0))
	}
	near := k.put(a, alloc(t, a, 9, 1), 1)
	fence := k.put(a, alloc(t, a, 9, 1), 1) // so that near's block merges with none
	var maps []uintptr
	for range 2 {
		addr, _, err := a.Map(8*mib, 1)
		if err != nil {
			t.Fatal(err)
		}
		k.putBytes(addr, 8*mib, 0)
		maps = append(maps, addr)
	}
	a.Unmap(maps[1])
	for _, run := range append(freed, near) {
		a.Free(run.Page)
	}
	before := a.Stats().Nodes[1]
	a.observed()
	if s := a.Stats().Nodes[1]; s.Free != before.Free || s.Moved != 0 || s.Elsewhere == 0 {
		t.Errorf("while the node is full: %+v, before %+v", s, before)
	}
	k.free(512 * mib)
	for range 100 {
		if a.observed(); !a.observer.sweeps[1].on {
			break
		}
	}
	for _, run := range held {
		if n := k.count(a.Addr(run.Page), run.bytes(), 1); n != 1<<9 {
			t.Errorf("%d of 512 pages of a run have moved", n)
		}
	}
	for i, addr := range maps {
		if n := k.count(addr, 8*mib, 1); n != 2048 {
			t.Errorf("%d of 2048 pages of mapping %d have moved", n, i)
		}
	}
	s := a.Stats().Nodes[1]
	if s.Moved != runs<<9+2*2048 || s.Free != int64(near.bytes()) || s.Purged != before.Purged+int64(runs*near.bytes()) {
		t.Errorf("with room: %+v, before %+v", s, before)
	}
	a.observed()
	if s := a.Stats().Nodes[1]; s.Elsewhere != 0 || a.PlacementError(1) != nil {
		t.Errorf("afterwards: %+v, %v", s, a.PlacementError(1))
	}
	for _, run := range append(held, fence) {
		a.Free(run.Page)
	}
	a.Unmap(maps[0])
}

// observedToTheEnd lets the observer run until no sweep is under way: a run moves pages for some
// milliseconds, and none if its thread has to wait for a CPU as long.
func (a *Arena) observedToTheEnd() {
	for a.observed(); a.sweeping(); {
		a.observed()
	}
}

// sweeping reports whether a sweep is under way.
func (a *Arena) sweeping() bool {
	return slices.ContainsFunc(a.observer.sweeps, func(s sweep) bool { return s.on })
}

// TestFewPagesOfFreeBlockMove: of a free block with few pages on another node, these are moved, and
// the block is not discarded.
func TestFewPagesOfFreeBlockMove(t *testing.T) {
	k := newFakeKernel()
	a := openObserved(t, k, Config{Span: 32 * mib, MaxDirty: Unlimited})
	run, used := k.put(a, alloc(t, a, 9, 1), 1), k.put(a, alloc(t, a, 0, 1), 0)
	for _, page := range []uint32{3, 77, 511} {
		k.putBytes(a.Addr(run.Page+page), mem.PageSize, 0)
	}
	a.Free(run.Page)
	a.observedToTheEnd()
	if n := k.count(a.Addr(run.Page), run.bytes(), 1); n != 512 {
		t.Errorf("%d of 512 pages of a free block lie on their node", n)
	}
	if s := a.Stats().Nodes[1]; s.Free != int64(run.bytes()) || s.Moved != 4 {
		t.Errorf("%+v, want one free block of %d bytes, and 4 pages moved", s, run.bytes())
	}
	a.Free(used.Page)
}

// TestPagesThatDontMove: the kernel is not asked all the time to move what it has refused to, also
// if a run has no time left to ask.
func TestPagesThatDontMove(t *testing.T) {
	k := newFakeKernel()
	k.immoble = true
	a := openObserved(t, k, Config{Span: 32 * mib, Observe: time.Second})
	run := k.put(a, alloc(t, a, 10, 1), 0)
	defer a.Free(run.Page)
	var rests []time.Duration
	for i := range 8 {
		k.slow = i == 4
		rest := a.observed()
		k.slow = false
		for a.sweeping() {
			rest = a.observed()
		}
		rests = append(rests, rest.Round(time.Second))
	}
	if k.moves > 8 || !slices.IsSorted(rests) || rests[7] < 8*time.Second {
		t.Errorf("%d moves were asked for, with rests of %v between", k.moves, rests)
	}
}

// TestNodesComeAndGo: a node's memory that is offline, or that the cpuset excludes, is no longer
// said to be had, in Stats, errors and the log; and again once it is back. What the kernel had
// refused to bind is bound then.
func TestNodesComeAndGo(t *testing.T) {
	k, text := newFakeKernel(), &bytes.Buffer{}
	k.mems, k.refuse = []numa.Node{0}, syscall.EINVAL
	a := openObserved(t, k, Config{Logger: slog.New(slog.NewTextHandler(text, nil))})
	run := k.put(a, alloc(t, a, 5, 1), 1)
	defer a.Free(run.Page)
	const memory = "devices/system/node/has_memory"
	steps := []struct {
		mems      []numa.Node
		memory    string
		placement string
		err       string
	}{
		{[]numa.Node{0}, "0-1", "first-touch: invalid argument; cpuset.mems excludes the node", "cpuset.mems"},
		{[]numa.Node{0, 1}, "0-1", "bound", ""},
		{[]numa.Node{0}, "0-1", "bound; cpuset.mems excludes the node", "cpuset.mems"},
		{[]numa.Node{0}, "0", "bound; the node's memory is offline", "offline"},
		{[]numa.Node{0, 1}, "0-1", "bound", ""},
		{[]numa.Node{0, 1}, "0-1", "bound", ""},
	}
	for i, step := range steps {
		k.mems, k.tree[memory], k.refuse = step.mems, testutil.Text(step.memory), nil
		a.observed()
		err := a.PlacementError(1)
		if s := a.Stats().Nodes[1].Placement; s != step.placement || (err != nil) != (step.err != "") {
			t.Errorf("step %d: placement %q, error %v, want %q, %q", i, s, err, step.placement, step.err)
		}
		if err != nil && !strings.Contains(err.Error(), step.err) {
			t.Errorf("step %d: error %v, want %q", i, err, step.err)
		}
	}
	log := text.String()
	if strings.Count(log, "memory lies on its node again") != 2 || strings.Count(log, "memory doesn't lie on its node") != 2 {
		t.Errorf("logged %s", log)
	}
	if k.binds != 3 {
		t.Errorf("%d policies were set, want those of New and one more", k.binds)
	}
}

// TestUnplacedNodes: where the kernel won't place memory, it lies where it is first touched, and
// where it tells nothing either, no node's memory can be promised. There is nothing to say of one
// node, nor with numa.Off.
func TestUnplacedNodes(t *testing.T) {
	k := newFakeKernel()
	k.refuse = syscall.EPERM
	a := openObserved(t, k, Config{})
	if err := a.PlacementError(1); err == nil || !err.FirstTouch || a.PlacementError(0) != nil {
		t.Errorf("mbind refused: %v, node 0: %v", err, a.PlacementError(0))
	}
	k.deaf = syscall.EPERM
	a = openObserved(t, k, Config{})
	for i := range 2 {
		if err := a.PlacementError(i); err == nil || err.FirstTouch {
			t.Errorf("nothing tells: node %d: %v", i, err)
		}
	}
	if s := a.Stats(); s.ObservedBy != "" || s.NotObserved == "" {
		t.Errorf("by %q, since %q", s.ObservedBy, s.NotObserved)
	}
	for name, a := range map[string]*Arena{
		"Off":      openObserved(t, k, Config{Strictness: numa.Off}),
		"one node": open(t, Config{kernelView: k.view()}),
	} {
		run := alloc(t, a, 0, 0)
		if a.PlacementError(0) != nil || a.observer.on || a.observer.timer.Armed() || a.Stats().NotObserved == "" {
			t.Errorf("%s: %v, observed: %v", name, a.PlacementError(0), a.observer.on)
		}
		a.Free(run.Page)
	}
}

// TestObserverRests: the timer is armed with the first page. It runs less and less often while
// nothing changes, and not without pages.
func TestObserverRests(t *testing.T) {
	k := newFakeKernel()
	a := openObserved(t, k, Config{MaxDirty: None, Observe: time.Minute})
	if a.observer.timer.Armed() {
		t.Error("the timer is armed without pages")
	}
	run := k.put(a, alloc(t, a, 4, 1), 1)
	if !a.observer.timer.Armed() {
		t.Error("the timer is not armed with pages")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 16} {
		if got := a.observed(); got != want*time.Minute {
			t.Errorf("a rest of %v, want %d minutes", got, want)
		}
	}
	k.mems = []numa.Node{0}
	if got := a.observed(); got != time.Minute {
		t.Errorf("a rest of %v after a change", got)
	}
	a.Free(run.Page)
	if a.observer.timer.Fire(); a.observer.timer.Armed() {
		t.Error("the timer is armed without pages")
	}
}

// TestNumaMapsCount: where the kernel refuses move_pages, the counts of the zones' mappings count.
func TestNumaMapsCount(t *testing.T) {
	defer sys.FailNth(sys.CallNodesOf, 0, syscall.EPERM)()
	k := newFakeKernel()
	k.mems = []numa.Node{0, 1}
	k.tree = testutil.SysFS(testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30}, testutil.SysNode{ID: 900, Memory: 1 << 30})
	view := kernel
	view.allowed = func() ([]numa.Node, error) { return []numa.Node{0, 900}, nil }
	a := open(t, Config{Topology: load(t, k.tree), kernelView: &view, Observe: time.Hour, HugePages: HugeNever})
	run := alloc(t, a, 5, 900)
	defer a.Free(run.Page)
	for page := range run.Pages {
		*mem.At[byte](a.Addr(run.Page + page)) = 1
	}
	a.observed()
	s := a.Stats()
	if n := s.Nodes[1]; s.ObservedBy != numa.SourceNumaMaps || n.Sampled != 32 || n.Elsewhere != 32 || n.Misplaced != 32 {
		t.Errorf("by %q: %+v", s.ObservedBy, n)
	}
}

// TestBlockTakenMeanwhile: a dirty block that is handed out while the kernel is asked about it is
// not discarded.
func TestBlockTakenMeanwhile(t *testing.T) {
	k := newFakeKernel()
	view := k.view()
	a := open(t, Config{Topology: load(t, k.tree), kernelView: view, Observe: time.Hour, MaxDirty: Unlimited})
	run := k.put(a, alloc(t, a, MaxOrder, 1), 0)
	k.put(a, alloc(t, a, 0, 1), 0) // a page in use, for the sample
	a.Free(run.Page)
	var taken Run
	view.where = func(addrs []uintptr) ([]numa.Node, error) {
		if taken.Pages == 0 {
			taken = alloc(t, a, MaxOrder, 1)
			words(a, taken)[0] = 1
		}
		return k.where(addrs)
	}
	a.observedToTheEnd()
	if taken.Page != run.Page || a.Stats().Nodes[1].Elsewhere == 0 {
		t.Fatalf("run %+v was taken, not %+v", taken, run)
	}
	if words(a, taken)[0] != 1 {
		t.Error("the run has lost what was written")
	}
	a.Free(taken.Page)
	a.Free(run.Page + 1<<MaxOrder)
}

// TestStressMend: while pages are moved and discarded, runs and mappings keep what their owners
// write, and a run that is said to be zero is.
func TestStressMend(t *testing.T) {
	k := newFakeKernel()
	view := k.view()
	view.where = func(addrs []uintptr) ([]numa.Node, error) {
		where := make([]numa.Node, len(addrs))
		for i := range where {
			where[i] = numa.Node(rand.IntN(2))
		}
		return where, nil
	}
	view.observe = func(samples []numa.Sample) ([]numa.Observed, string, error) {
		return []numa.Observed{{0: 9}, {0: 9}}, numa.SourceMovePages, nil
	}
	a := open(t, Config{Topology: load(t, k.tree), kernelView: view, Observe: time.Hour, MaxDirty: Unlimited})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				a.observed()
			}
		}
	}()
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for n := range testutil.Stress(t, 4000) {
				run, err := a.Alloc(rand.IntN(6), 1)
				if errors.Is(err, ErrNoMemory) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				ws, word := words(a, run), uint64(w+1)<<32|uint64(n)
				if run.Zero && !allZero(ws) {
					t.Errorf("run %+v isn't zero", run)
				}
				ws[0], ws[len(ws)-1] = word, word
				if n%8 == 0 {
					time.Sleep(time.Microsecond)
				}
				if ws[0] != word || ws[len(ws)-1] != word {
					t.Errorf("run %+v has lost what was written", run)
				}
				clear(ws)
				a.Free(run.Page)
			}
		})
	}
	workers.Wait()
	close(stop)
	<-done
}

// With a topology of another machine, as tests of programs use it, there is no truth to ask the
// kernel for: memory in the range for a node is the node's.
func TestTopologyOfAnotherMachine(t *testing.T) {
	k := newFakeKernel()
	k.refuse = syscall.EINVAL
	k.mems = []numa.Node{0}
	for _, there := range []bool{true, false} {
		view := k.view()
		view.has = func(n numa.Node) bool { return there || n == 0 }
		a := open(t, Config{Topology: load(t, k.tree), kernelView: view})
		if err := a.PlacementError(1); (err != nil) != there {
			t.Errorf("the machine has node 1: %v; its memory: %v", there, err)
		}
	}
}
