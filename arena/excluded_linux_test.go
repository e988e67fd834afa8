//go:build !race

package arena

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// A node that the cpuset of the process excludes is of no use under Strict, and the others are. No
// machine's cpuset has node 900.
func TestStrictExcludesNodes(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30, Distance: []int{10, 20, 20}},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Distance: []int{20, 10, 11}},
		testutil.SysNode{ID: 900, CPUs: []int{2}, Memory: 1 << 30, Distance: []int{20, 11, 10}},
	))
	a := open(t, Config{Topology: topo, Strictness: numa.Strict})
	if _, err := a.Alloc(0, 900); !errors.Is(err, ErrExcluded) || !errors.Is(err, ErrNoMemory) {
		t.Errorf("a run of node 900: %v", err)
	}
	if _, _, err := a.Map(maxRun+1, 900); !errors.Is(err, ErrExcluded) {
		t.Errorf("a mapping of node 900: %v", err)
	}
	s := a.Stats().Nodes
	if !strings.HasPrefix(s[2].Placement, "excluded: ") || s[0].Placement != "bound" || s[1].Placement != "bound (node 0)" {
		t.Errorf("placements are %q, %q, %q", s[0].Placement, s[1].Placement, s[2].Placement)
	}
	for node := range numa.Node(2) { // the nearest with memory of node 1 is excluded
		run := alloc(t, a, 0, node)
		words(a, run)[0] = 1
		a.Free(run.Page)
		addr, _, err := a.Map(maxRun+1, node)
		if err != nil || !a.Unmap(addr) {
			t.Errorf("a mapping of node %d: %v", node, err)
		}
	}
}

// Where none of the nodes is in the cpuset, and where it isn't known, New fails as before.
func TestStrictNeedsANode(t *testing.T) {
	if _, err := New(Config{Topology: nodes(t, 900, 901), Span: 8 * mib, Strictness: numa.Strict}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("nodes that don't exist: %v", err)
	}
	defer sys.FailNth(sys.CallMemsAllowed, 0, syscall.EACCES)()
	if _, err := New(Config{Topology: nodes(t, 0, 900), Span: 8 * mib, Strictness: numa.Strict}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("one node that doesn't exist, without a cpuset: %v", err)
	}
}

// To a process that is bound to some nodes the others have no memory.
func TestArenaRespectsMembind(t *testing.T) {
	const mpolBind = 2
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := sys.SetThreadPolicy(mpolBind, []uint64{1}); err != nil {
		testutil.NeedHost(t, "set_mempolicy", "numactl", err)
	}
	var log bytes.Buffer
	topo := nodes(t, 0, 1)
	a, err := New(Config{Span: 8 * mib, Topology: topo, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	off, errOff := New(Config{Span: 8 * mib, Topology: topo, Strictness: numa.Off})
	if err := errors.Join(err, errOff, sys.SetThreadPolicy(0, nil)); err != nil {
		t.Fatal(err)
	}
	if a.Topology().HasMemory(1) || !a.Topology().HasMemory(0) || !topo.HasMemory(1) || off.Topology() != topo {
		t.Error("node 1 has memory for the bound process, or node 0 has none")
	}
	if text := a.Stats().Nodes[1].Placement; text != "bound (node 0)" {
		t.Errorf("placement of node 1: %q", text)
	}
	if text := log.String(); !strings.Contains(text, "bound to some nodes") || !strings.Contains(text, "nodes=[0]") {
		t.Errorf("the log says %q", text)
	}
	if err := errors.Join(a.Close(), off.Close()); err != nil {
		t.Error(err)
	}
}
