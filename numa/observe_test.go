package numa

import (
	"errors"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestObserveMaps: lines count for the sample in whose range their mapping begins, in small pages.
func TestObserveMaps(t *testing.T) {
	const text = `7f0000000000 prefer=static:0 anon=9 dirty=9 N0=4 N1=5 kernelpagesize_kB=4
7f0000009000 default file=/usr/lib/N7=x mapped=1 N12=1 kernelpagesize_kB=4
7f0000400000 bind:1 anon=2 dirty=2 N1=2 kernelpagesize_kB=2048
7f0000500000 default
nonsense N0=1

7f0000600000 default anon=1 N3=1 kernelpagesize_kB=4
`
	got := observeMaps([]Sample{{Addr: 0x7f0000000000, Bytes: 1 << 20}, {Addr: 0x7f0000400000, Bytes: 2 << 20},
		{Addr: 0x7f0000601000, Bytes: 1 << 20}}, []byte(text))
	for i, want := range []Observed{{0: 4, 1: 5, 12: 1}, {1: 1024}, {}} {
		if !maps.Equal(got[i], want) {
			t.Errorf("sample %d: %v, want %v", i, got[i], want)
		}
	}
}

// TestObserveWhenTheKernelRefuses: one refusal leaves the other source, two are an error that names
// both.
func TestObserveWhenTheKernelRefuses(t *testing.T) {
	defer sys.FailNth(sys.CallReadNumaMaps, 0, syscall.EACCES)()
	defer sys.FailNth(sys.CallNodesOf, 0, syscall.EPERM)()
	_, _, err := Observe([]Sample{{}})
	if !errors.Is(err, ErrRefused) || !errors.Is(err, syscall.EPERM) || !errors.Is(err, syscall.EACCES) {
		t.Errorf("Observe: %v", err)
	}
	defer sys.FailNth(sys.CallMovePages, 0, syscall.EPERM)()
	defer sys.FailNth(sys.CallMemsAllowed, 0, syscall.EPERM)()
	_, move := Move([]uintptr{0}, 0)
	_, allowed := Allowed()
	for name, err := range map[string]error{"Move": move, "Allowed": allowed} {
		if !errors.Is(err, ErrRefused) || !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []Node{NoNode, maxNode + 1} {
		if _, err := Move(nil, n); !errors.Is(err, ErrInvalid) {
			t.Errorf("Move to node %d: %v", n, err)
		}
	}
}

// TestMemoryNow: sysfs is read again, and nodes that the topology doesn't know are left out.
func TestMemoryNow(t *testing.T) {
	tree := testutil.SysFS(testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30}, testutil.SysNode{ID: 2, Memory: 1 << 30})
	topo := load(t, tree)
	const file = "devices/system/node/has_memory"
	for text, want := range map[string][]Node{"0,2": {0, 2}, "0": {0}, "2-5": {2}, "": {}} {
		tree[file] = testutil.Text(text)
		if got, err := topo.MemoryNow(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	tree[file] = testutil.Text("x")
	if _, err := topo.MemoryNow(); !errors.Is(err, ErrMalformed) {
		t.Errorf("malformed: %v", err)
	}
	delete(tree, file)
	if _, err := topo.MemoryNow(); err == nil {
		t.Error("no error without the file")
	}
}
