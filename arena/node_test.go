package arena

import (
	"errors"
	"fmt"
	"os"
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
	if a.Span() != 8*mib || a.Base()%maxRun != 0 || int64(a.Pages()) != 3*a.Span()/mem.PageSize {
		t.Fatalf("base %#x, span %#x, %d pages", a.Base(), a.Span(), a.Pages())
	}
	span := uintptr(a.Span())
	end := a.Base() + 3*span
	for _, addr := range []uintptr{0, a.Base() - 1, end, ^uintptr(0)} {
		if a.NodeOf(addr) != numa.NoNode || a.NodeIndex(addr) != -1 {
			t.Errorf("%#x outside the range belongs to node %d", addr, a.NodeOf(addr))
		}
		if page, ok := a.PageOf(addr); ok {
			t.Errorf("%#x outside the range lies in page %d", addr, page)
		}
	}
	for i, id := range ids {
		first := a.Base() + uintptr(i)*span
		for _, addr := range []uintptr{first, first + span - 1} {
			if a.NodeOf(addr) != numa.Node(id) || a.NodeIndex(addr) != i {
				t.Errorf("%#x belongs to node %d, index %d; want %d, %d", addr, a.NodeOf(addr), a.NodeIndex(addr), id, i)
			}
			if page, ok := a.PageOf(addr); !ok || addr-a.Addr(page) >= mem.PageSize {
				t.Errorf("%#x lies in page %d, which starts at %#x", addr, page, a.Addr(page))
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
	if n := addressSpace(t); n > before+4*uint64(cfg.Span) {
		t.Errorf("%d bytes mapped after 8 failures, %d before", n, before)
	}
	cfg.Strictness = numa.Off
	a = open(t, cfg)
	if text := a.Stats().Nodes[0].Placement; !strings.Contains(text, "switched off") {
		t.Errorf("placement under Off: %q", text)
	}
}

// The kernel tells the policies of the range and of its page map.
func TestPolicies(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is bound")
	}
	const none, preferred, bind = 0, 1, 2 // MPOL_* of <linux/mempolicy.h>
	for _, c := range []struct {
		strictness     numa.Strictness
		pages, pageMap int
	}{
		{strictness: numa.Advisory, pages: preferred, pageMap: preferred},
		{strictness: numa.Strict, pages: bind, pageMap: preferred},
		{strictness: numa.Off, pages: none, pageMap: none},
	} {
		a, err := New(Config{Span: 16 * mib, Topology: numa.System(), Strictness: c.strictness})
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		if text := a.Stats().Nodes[0].Placement; c.strictness != numa.Off && text != "bound" {
			t.Skip(text)
		}
		for addr, want := range map[uintptr]int{
			a.Base():              c.pages,
			uintptr(a.Owners()):   c.pageMap,
			uintptr(a.Meta(0)):    c.pageMap,
			a.Addr(a.Pages() - 1): c.pages,
		} {
			mode, _, err := sys.Mempolicy(addr)
			if err != nil {
				t.Skip(err)
			}
			if mode&0xff != want {
				t.Errorf("%v: policy %#x at %#x, want %d", c.strictness, mode, addr, want)
			}
		}
	}
}

func TestHugePages(t *testing.T) {
	if heapBacked {
		t.Skip("race build: the kernel isn't asked")
	}
	const huge, small = " hg", " nh"
	for mode, want := range map[HugeMode]string{HugeAlways: huge, HugeNever: small, HugeDefault: "", HugeSystem: ""} {
		a := open(t, Config{HugePages: mode})
		text, err := os.ReadFile("/proc/self/smaps")
		if err != nil {
			t.Skip(err)
		}
		_, entry, _ := strings.Cut(string(text), fmt.Sprintf("\n%x-", a.Base()))
		_, flags, _ := strings.Cut(entry, "VmFlags:")
		flags, _, _ = strings.Cut(flags, "\n")
		for _, flag := range []string{huge, small} {
			if strings.Contains(flags, flag) != (flag == want) {
				t.Errorf("mode %d: the range's flags are%s, want%s", mode, flags, want)
			}
		}
		restore := sys.FailNth(sys.CallAdviseHuge, 1, syscall.EINVAL)
		open(t, Config{HugePages: mode}) // as on a kernel without huge pages
		restore()
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

// The kernel tells where the pages of runs are, for the machine's own nodes.
func TestNUMAPagesLieWhereAsked(t *testing.T) {
	a := open(t, Config{Topology: numa.System()})
	for i, n := range a.Topology().Nodes() {
		if !a.Topology().HasMemory(n) {
			continue
		}
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
