package arena

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// checkHomes checks the equations of the nodes' ledgers. Preconditions: as for check.
func checkHomes(a *Arena) {
	type sums struct{ charged, dirty int64 }
	want := make(map[*nodeLedger]sums)
	add := func(h *nodeLedger, charged, dirty int64) {
		s := want[h]
		want[h] = sums{s.charged + charged, s.dirty + dirty}
	}
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		pages := int64(z.free[dirty.area()].pages)
		add(z.home, int64(z.used)+pages, pages)
		z.mu.Unlock()
	}
	a.big.mu.Lock()
	for _, m := range a.big.live {
		add(m.home, m.charged, 0)
	}
	for _, list := range a.big.kept {
		for _, m := range list {
			add(m.home, m.charged, m.charged)
		}
	}
	a.big.mu.Unlock()
	for i := range a.homes {
		h := &a.homes[i]
		if charged, dirty := h.load(); (sums{charged, dirty}) != want[h] {
			fail("node %d: the ledger says %d pages charged, %d dirty, zones and mappings %+v", h.node, charged, dirty, want[h])
		}
	}
}

func TestNodeLimit(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 3), NodeLimit: maxRun, MaxDirty: Unlimited})
	run := alloc(t, a, MaxOrder, 3)
	_, err := a.Alloc(1, 3)
	var e *NodeLimitError
	if !errors.As(err, &e) || !errors.Is(err, ErrNodeLimit) || !errors.Is(err, ErrNoMemory) || errors.Is(err, ErrLimit) {
		t.Fatalf("beyond the limit of node 3: %v", err)
	}
	if *e != (NodeLimitError{Node: 3, Limit: maxRun, InUse: maxRun, Bytes: 2 * mem.PageSize}) {
		t.Errorf("the error says %+v", *e)
	}
	if text := err.Error(); !strings.Contains(text, "node 3 has 4194304 of 4194304 bytes in use, and 8192 more are needed") {
		t.Errorf("the error's text is %q", text)
	}
	if _, _, err := a.Map(mem.PageSize, 3); !errors.Is(err, ErrNodeLimit) || !errors.As(err, &e) || e.Bytes != mem.PageSize {
		t.Errorf("a mapping beyond the limit of node 3: %v", err)
	}
	a.Free(alloc(t, a, MaxOrder, 0).Page) // node 0 has its own
	a.Free(run.Page)
	addr, _, err := a.Map(maxRun, 3)
	if err != nil {
		t.Fatalf("freed runs of node 3 are not discarded for a mapping: %v", err)
	}
	if s := a.Stats().Nodes; s[0].Free != maxRun || s[1].Free != 0 || s[1].Charged != maxRun || s[1].Limit != maxRun {
		t.Errorf("after a mapping of node 3: %+v", s)
	}
	a.Unmap(addr)
	a.Free(alloc(t, a, MaxOrder, 3).Page) // the kept mapping is discarded
	if s := a.Stats(); s.MappedFree != 0 || s.Nodes[0].Free != maxRun {
		t.Errorf("after a run of node 3: %+v", s)
	}
}

// Without a figure in the config the limit is the node's memory less a tenth, or less what the
// kernel needs of a small node, and none where the topology doesn't say how much it has.
func TestNodeLimitIsAutomatic(t *testing.T) {
	tree := testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1000 << 20},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Memory: 200 << 20},
		testutil.SysNode{ID: 2, CPUs: []int{2}, Distance: []int{15, 20, 10, 20, 20}},
		testutil.SysNode{ID: 3, Memory: 1 << 30},
		testutil.SysNode{ID: 4, Memory: 20 << 20},
	)
	delete(tree, "devices/system/node/node3/meminfo")
	a := open(t, Config{Topology: load(t, tree)})
	for node, want := range []int64{900 << 20, 168 << 20, 900 << 20, Unlimited, 15 << 20} {
		if got, err := a.NodeLimit(numa.Node(node)); got != want || err != nil {
			t.Errorf("node %d: %d, %v, want %d", node, got, err, want)
		}
	}
	if most := a.MostAtOnce(); most != Unlimited {
		t.Errorf("the most at once is %d", most)
	}
	if _, err := a.NodeLimit(5); !errors.Is(err, ErrNode) {
		t.Errorf("a node that doesn't exist: %v", err)
	}
	if s := a.Stats().Nodes; s[1].Limit != 168<<20 || s[2].Limit != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// A node without memory takes from another one, and counts for that one's limit.
func TestNodeLimitOfMemorylessNode(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30},
		testutil.SysNode{ID: 1, CPUs: []int{1}},
	))
	a := open(t, Config{Topology: topo, NodeLimit: maxRun})
	run := alloc(t, a, MaxOrder, 1)
	var e *NodeLimitError
	if _, err := a.Alloc(0, 0); !errors.As(err, &e) || e.Node != 0 {
		t.Errorf("beside a run of the node without memory: %v", err)
	}
	if s := a.Stats().Nodes; s[0].Charged != maxRun || s[1].Charged != 0 {
		t.Errorf("stats are %+v", s)
	}
	if err := a.SetNodeLimit(1, 0); !errors.Is(err, ErrNode) {
		t.Errorf("a limit for the node without memory: %v", err)
	}
	a.Free(run.Page)
	a.Free(alloc(t, a, 0, 0).Page)
}

func TestSetNodeLimit(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1), MaxDirty: Unlimited})
	if err := a.SetNodeLimit(2, 0); !errors.Is(err, ErrNode) {
		t.Errorf("a node that doesn't exist: %v", err)
	}
	for node := range numa.Node(2) {
		a.Free(alloc(t, a, MaxOrder, node).Page)
	}
	set := func(n, want int64) {
		t.Helper()
		if err := a.SetNodeLimit(1, n); err != nil {
			t.Fatal(err)
		}
		if got, _ := a.NodeLimit(1); got != want {
			t.Errorf("after SetNodeLimit(%d): %d, want %d", n, got, want)
		}
	}
	set(2*mem.PageSize, 2*mem.PageSize)
	if s := a.Stats().Nodes; s[0].Free != maxRun || s[1].Free > 2*mem.PageSize {
		t.Errorf("freed runs above a new limit of node 1: %+v", s)
	}
	set(None, 0)
	if _, err := a.Alloc(0, 1); !errors.Is(err, ErrNodeLimit) {
		t.Errorf("under a limit of nothing: %v", err)
	}
	if most := a.MostAtOnce(); most != 1<<30-(1<<30)/10 {
		t.Errorf("the most at once is %d", most)
	}
	set(Unlimited, Unlimited)
	set(0, 1<<30-(1<<30)/10)
	a.Free(alloc(t, a, 0, 1).Page)
}

// What the arena's limit refuses is charged to no node, and the other way round.
func TestRefusedChargesLeaveNothing(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1), Limit: 8 * mem.PageSize, NodeLimit: 6 * mem.PageSize})
	first, second := alloc(t, a, 2, 0), alloc(t, a, 1, 1)
	for i := range 10 {
		if _, err := a.Alloc(2, 0); !errors.Is(err, ErrNodeLimit) {
			t.Errorf("beyond the limit of node 0: %v", err)
		}
		if _, err := a.Alloc(2, 1); !errors.Is(err, ErrLimit) {
			t.Errorf("beyond the arena's limit: %v", err)
		}
		if _, _, err := a.Map(3*mem.PageSize, 1); !errors.Is(err, ErrLimit) {
			t.Errorf("a mapping beyond the arena's limit: %v", err)
		}
		if i == 5 {
			a.Free(second.Page)
			second = alloc(t, a, 1, 1)
		}
	}
	if s := a.Stats().Nodes; s[0].Charged != 4*mem.PageSize || s[1].Charged != 2*mem.PageSize {
		t.Errorf("stats are %+v", s)
	}
	a.Free(first.Page)
	a.Free(second.Page)
}

// Where the kernel refuses to discard, the node's pages stay charged and Alloc fails.
func TestNodeLimitWithoutDiscard(t *testing.T) {
	if heapBacked {
		return // nothing is asked of the kernel here
	}
	a := open(t, Config{NodeLimit: 2 * mem.PageSize, MaxDirty: Unlimited})
	for range 2 {
		a.Free(alloc(t, a, 0, 0).Page)
	}
	a.Free(alloc(t, a, 1, 0).Page)
	keep := alloc(t, a, 0, 0)
	a.Free(alloc(t, a, 0, 0).Page)
	restore := sys.FailNth(sys.CallDiscard, 0, errors.New("refused"))
	_, err := a.Alloc(1, 0)
	restore()
	if !errors.Is(err, ErrNodeLimit) {
		t.Errorf("while the kernel refuses to discard: %v", err)
	}
	a.Free(keep.Page)
}

// No more than the limit is charged at any instant, and an attempt that fits beside what is in use
// never fails, however many fail at the same time.
func TestNodeLimitIsExact(t *testing.T) {
	const limit = 8 * mem.PageSize
	a := open(t, Config{Topology: nodes(t, 0, 1), NodeLimit: limit, Limit: 12 * mem.PageSize})
	seed := testutil.Seed(t)
	var workers, checker sync.WaitGroup
	stop := make(chan bool)
	checker.Go(func() {
		for {
			for i := range a.homes {
				if charged, dirty := a.homes[i].load(); charged*mem.PageSize > limit || dirty > charged {
					t.Errorf("node %d: %d pages charged, %d dirty", i, charged, dirty)
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	rounds := testutil.Stress(t, 4000)
	for w := range 3 {
		workers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds {
				node := numa.Node(rng.IntN(2))
				switch {
				case w == 0: // 2 pages of node 0, which the others leave
					run, err := a.Alloc(1, 0)
					if err != nil {
						t.Errorf("2 pages of 8, of which others have 5 at most: %v", err)
						return
					}
					a.Free(run.Page)
				case w == 1: // fails, or has up to 4 pages of a node
					if run, err := a.Alloc(2+rng.IntN(2)*2, node); err == nil {
						a.Free(run.Page)
					}
				default: // fails, or has one page of a node
					if addr, _, err := a.Map(int64(1+8*rng.IntN(2))*mem.PageSize, node); err == nil {
						a.Unmap(addr)
					}
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	checker.Wait()
}
