package arena

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

func TestNodesOwnEqualParts(t *testing.T) {
	ids := []int{0, 2, 5}
	a := open(t, Config{Topology: nodes(t, ids...)})
	if a.Span() != 8*mib || a.Base()%maxRun != 0 || uintptr(a.Pages()) != 3*a.Span()/mem.PageSize {
		t.Fatalf("base %#x, span %#x, %d pages", a.Base(), a.Span(), a.Pages())
	}
	end := a.Base() + 3*a.Span()
	for _, addr := range []uintptr{0, a.Base() - 1, end, ^uintptr(0)} {
		if a.NodeOf(addr) != numa.NoNode || a.NodeIndex(addr) != -1 {
			t.Errorf("%#x outside the range belongs to node %d", addr, a.NodeOf(addr))
		}
	}
	for i, id := range ids {
		first := a.Base() + uintptr(i)*a.Span()
		for _, addr := range []uintptr{first, first + a.Span() - 1} {
			if a.NodeOf(addr) != numa.Node(id) || a.NodeIndex(addr) != i {
				t.Errorf("%#x belongs to node %d, index %d; want %d, %d", addr, a.NodeOf(addr), a.NodeIndex(addr), id, i)
			}
		}
		run := alloc(t, a, 1, numa.Node(id))
		if run.Node != numa.Node(id) || a.NodeOf(a.Addr(run.Page)) != run.Node {
			t.Errorf("run on node %d: %+v", id, run)
		}
		a.Free(run.Page)
	}
	if _, err := a.Alloc(0, 1); !errors.Is(err, ErrNode) {
		t.Errorf("Alloc on a node between the ids: %v", err)
	}
}

// The machine has no node 900, and numa.Advisory goes on without it.
func TestAdvisoryReportsRefusal(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 900)})
	run := alloc(t, a, 0, 900)
	words(a, run)[0] = 1
	a.Free(run.Page)
	if text := a.Stats().Nodes[1].Placement; !strings.HasPrefix(text, "first-touch: ") {
		t.Errorf("placement on a node that doesn't exist: %q", text)
	}
}

func TestRefusedMbind(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is bound")
	}
	defer sys.FailNth(sys.CallMbind, 0, syscall.EPERM)()
	a := open(t, Config{})
	if text := a.Stats().Nodes[0].Placement; !strings.Contains(text, "operation not permitted") {
		t.Errorf("placement without the right to mbind: %q", text)
	}
	cfg := Config{Span: 256 * mib, Topology: nodes(t, 0), Strictness: numa.Strict}
	before := addressSpace(t)
	for range 8 {
		if _, err := New(cfg); !errors.Is(err, syscall.EPERM) {
			t.Errorf("New under Strict: %v", err)
		}
	}
	if n := addressSpace(t); n > before+4*cfg.Span {
		t.Errorf("%d bytes mapped after 8 failures, %d before", n, before)
	}
	cfg.Strictness = numa.Off
	a = open(t, cfg)
	if text := a.Stats().Nodes[0].Placement; !strings.Contains(text, "switched off") {
		t.Errorf("placement under Off: %q", text)
	}
}

func TestNodeWithoutMemoryUsesTheNearest(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30},
		testutil.SysNode{ID: 1, CPUs: []int{1}},
	))
	a := open(t, Config{Topology: topo})
	if text := a.Stats().Nodes[1].Placement; !strings.HasSuffix(text, "(node 0)") {
		t.Errorf("placement of the node without memory: %q", text)
	}
	a.Free(alloc(t, a, 0, 1).Page)
}

// The kernel itself says where pages of the machine's own nodes are.
func TestPagesLieWhereAsked(t *testing.T) {
	a := open(t, Config{Topology: numa.System()})
	for i, n := range a.Topology().Nodes() {
		if text := a.Stats().Nodes[i].Placement; text != "bound" {
			t.Skipf("node %d: %s", n, text)
		}
		run := alloc(t, a, 2, n)
		var addrs []uintptr
		for page := range uint32(4) {
			addrs = append(addrs, a.Addr(run.Page+page))
			*mem.At[byte](addrs[page]) = 1
		}
		where, err := numa.Where(addrs)
		if err != nil {
			t.Skip(err)
		}
		for _, got := range where {
			if got != n {
				t.Errorf("pages for node %d lie on %v", n, where)
			}
		}
		a.Free(run.Page)
	}
}
