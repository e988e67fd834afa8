package sheaves

import (
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
)

// TestNUMASheavesLieOnTheirNode: the array of a CPU's sheaf lies where a page lies that the CPU
// touches first, whatever other CPUs have used before.
func TestNUMASheavesLieOnTheirNode(t *testing.T) {
	cfg := Config{Domain: new(rcu.Domain), Capacity: 60, NodeOfCPU: make([]int, percpu.NumCPU())}
	var cpus []int
	for cpu := range cfg.NodeOfCPU {
		_ = RunPinned([]int{cpu}, func() { // CPUs that are not for this process are left out
			if at, node, err := sys.CPU(); err == nil && at == cpu {
				cpus = append(cpus, cpu)
				cfg.NodeOfCPU[cpu] = node
				cfg.Nodes = max(cfg.Nodes, node+1)
			}
		})
	}
	cfg.Source = newSource(t, cfg.Nodes)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, cpu := range cpus {
		var sheaf, touched uintptr
		err := RunPinned([]int{cpu}, func() {
			if obj := s.TryAlloc(); obj != nil {
				defer s.TryFree(obj, s.nodeOf(obj))
			}
			if st, at := s.slots.TryLock(percpu.Main); st != nil {
				if at == cpu { // the trylock engine may only guess it
					sheaf = st.Sheaf
				}
				st.Unlock()
			}
			page, err := percpu.Reserve(mem.PageSize)
			if err != nil {
				t.Error(err)
				return
			}
			*mem.At[uint64](page) = 1
			touched = page
		})
		if err != nil || sheaf == 0 || touched == 0 {
			continue
		}
		status := []int32{-1, -1}
		err = sys.NodesOf([]uintptr{sheaf, touched}, status)
		testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
		if status[0] != status[1] {
			t.Errorf("CPU %d touches pages on node %d, its sheaf is on node %d", cpu, status[1], status[0])
		}
		_ = percpu.Unreserve(touched, mem.PageSize)
	}
}
