package numa

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// These tests run against the real machine. Most of them need several nodes to find anything.

func machine(t *testing.T) *Topology {
	t.Helper()
	topo := System()
	checkEquations(t, topo)
	t.Logf("nodes %v, %d CPUs, source %s, differences %v", topo.Nodes(), topo.NumCPU(), topo.Source(), topo.CrossCheck())
	return topo
}

// logMemory logs what the kernel says of its nodes at this time, for a test that has failed.
func logMemory(t *testing.T) {
	t.Helper()
	now, err := LoadFS(os.DirFS("/sys"))
	if err != nil {
		t.Log(err)
		return
	}
	for _, n := range now.Nodes() {
		total, free := now.Memory(n)
		t.Logf("node %d: CPUs %v, %d of %d bytes free; nodes with memory now %v, at the start %v",
			n, now.CPUs(n), free, total, now.Fallback(n), System().Fallback(n))
	}
}

// pages reserves n untouched small pages for one test.
func pages(t *testing.T, n uintptr) uintptr {
	t.Helper()
	addr, err := sys.Reserve(n * mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Unmap(addr, n*mem.PageSize); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// place applies the policy and touches the pages. It skips the test where seccomp refuses mbind.
func place(t *testing.T, p Policy, addr, n uintptr) []Node {
	t.Helper()
	got, err := p.Apply(addr, n*mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	if got.Outcome != Bound {
		t.Skip(got)
	}
	addrs := make([]uintptr, n)
	for i := range addrs {
		addrs[i] = addr + uintptr(i)*mem.PageSize
		*mem.At[byte](addrs[i]) = 1
	}
	if _, err := Where(addrs); err != nil {
		t.Skip(err)
	}
	return whereTouched(t, addrs)
}

// whereTouched is Where of touched pages. While the kernel moves a page, or makes a huge one of
// several, it tells no node; a read waits for that.
func whereTouched(t *testing.T, addrs []uintptr) []Node {
	t.Helper()
	for range 1000 {
		where, err := Where(addrs)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(where, NoNode) {
			return where
		}
		for i, n := range where {
			if n == NoNode {
				atomic.LoadUint32(mem.At[uint32](addrs[i]))
			}
		}
	}
	t.Fatal("the kernel has touched pages on no node")
	return nil
}

// Each CPU's own directory links to its node, also that of an offline CPU.
func TestNodeOfAgreesWithTheCPUs(t *testing.T) {
	topo := machine(t)
	links, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/node[0-9]*")
	if err != nil || len(links) == 0 && topo.NodeCount() != 1 {
		t.Fatalf("%v: %d links on %d nodes", err, len(links), topo.NodeCount())
	}
	for _, link := range links {
		var cpu int
		var node Node
		if _, err := fmt.Sscanf(link, "/sys/devices/system/cpu/cpu%d/node%d", &cpu, &node); err != nil {
			t.Fatal(err)
		}
		if got := topo.NodeOf(cpu); got != node {
			t.Errorf("CPU %d on node %d, want %d", cpu, got, node)
		}
	}
}

func TestNUMAPagesGoWhereTheyAreBound(t *testing.T) {
	topo := machine(t)
	const n = 8
	for _, node := range topo.Fallback(NoNode) {
		for _, mode := range []Mode{Bind, Preferred, Interleave} {
			where := place(t, Policy{Mode: mode, Nodes: []Node{node}}, pages(t, n), n)
			if !slices.Equal(where, slices.Repeat([]Node{node}, n)) {
				t.Errorf("%v to node %d: pages are on %v", mode, node, where)
			}
		}
	}
	where := place(t, Policy{Mode: Interleave, Nodes: topo.Fallback(NoNode)}, pages(t, n), n)
	for _, node := range topo.Fallback(NoNode) {
		if !slices.Contains(where, node) {
			t.Errorf("interleaving over %v put pages on %v", topo.Fallback(NoNode), where)
		}
	}
}

func TestNUMALocalPagesFollowTheThread(t *testing.T) {
	topo := machine(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, node := range topo.Nodes() {
		cpus := allowed(t, topo.CPUs(node))
		if len(cpus) == 0 {
			continue
		}
		restore, err := SetAffinity(cpus...)
		if err != nil {
			t.Fatal(err)
		}
		cpu, err := CurrentCPU()
		if err != nil || !slices.Contains(cpus, cpu) || topo.NodeOf(cpu) != node {
			t.Errorf("pinned to %v of node %d, on CPU %d of node %d, %v", cpus, node, cpu, topo.NodeOf(cpu), err)
		}
		// Of several nodes at the same distance the kernel deals out one after the other.
		if where, want := place(t, Policy{}, pages(t, 1), 1)[0], topo.LocalNode(cpu); where != want {
			t.Errorf("CPU %d got a page of node %d, want %d; the order is %v", cpu, where, want, topo.Fallback(node))
			logMemory(t)
		}
		if err := restore(); err != nil {
			t.Error(err)
		}
	}
}

// allowed returns those of the CPUs that the thread may use.
func allowed(t *testing.T, cpus []int) []int {
	t.Helper()
	mine, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(cpus), func(cpu int) bool { return !slices.Contains(mine, cpu) })
}

func TestRestoreAllowsTheSameCPUsAgain(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := allowed(t, System().CPUs(System().NodeOf(0)))
	if len(before) < 2 {
		t.Skip("one CPU can't be restricted further")
	}
	all, _ := Affinity()
	restore, err := SetAffinity(before[0])
	if err != nil {
		t.Fatal(err)
	}
	if now, err := Affinity(); err != nil || !slices.Equal(now, before[:1]) {
		t.Errorf("affinity %v, %v, want %v", now, err, before[:1])
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if now, err := Affinity(); err != nil || !slices.Equal(now, all) {
		t.Errorf("affinity %v, %v, want %v", now, err, all)
	}
}

// Without sysfs the CPUs are guessed, also from the thread's affinity, which may have fewer than
// the machine.
func TestWithoutSysfsOnAPinnedThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mine, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	restore, err := SetAffinity(mine[0])
	if err != nil {
		t.Fatal(err)
	}
	topo := load(t, fstest.MapFS{})
	if err := restore(); err != nil {
		t.Error(err)
	}
	if topo.NumCPU() < runtime.NumCPU() {
		t.Errorf("%d CPUs on a thread pinned to one, the runtime has %d", topo.NumCPU(), runtime.NumCPU())
	}
}

func TestWhereKnowsUntouchedPages(t *testing.T) {
	addr := pages(t, 2)
	*mem.At[byte](addr) = 1
	where, err := Where([]uintptr{addr, addr + mem.PageSize})
	if errors.Is(err, ErrRefused) {
		t.Skip(err)
	}
	if err != nil || where[0] == NoNode || where[1] != NoNode {
		t.Errorf("touched and untouched page on %v, %v", where, err)
	}
}

func TestStrictRefusesAnAbsentNode(t *testing.T) {
	topo := machine(t)
	absent := Policy{Mode: Bind, Nodes: []Node{topo.Nodes()[topo.NodeCount()-1] + 1}}
	addr := pages(t, 1)
	if got, err := absent.Apply(addr, mem.PageSize); err != nil || got.Outcome != FirstTouch {
		t.Errorf("advisory: %v, %v", got, err)
	}
	absent.Strictness = Strict
	if got, err := absent.Apply(addr, mem.PageSize); !errors.Is(err, ErrRefused) {
		t.Errorf("strict: %v, %v", got, err)
	}
}

func TestUnmappedRangeIsAnError(t *testing.T) {
	addr, err := sys.Reserve(mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Unmap(addr, mem.PageSize); err != nil {
		t.Fatal(err)
	}
	got, err := Policy{Mode: Bind, Nodes: System().Fallback(NoNode)[:1]}.Apply(addr, mem.PageSize)
	if err == nil && got.Outcome == FirstTouch {
		t.Skip(got)
	}
	if err == nil {
		t.Error("a policy for an unmapped range is accepted")
	}
}
