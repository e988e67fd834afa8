package numa

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/sys"
)

var system = sync.OnceValue(func() *Topology { return loadOrAssume(os.DirFS("/sys")) })

// System returns the machine's topology, which the first call loads. If a file of sysfs is
// malformed, it describes one node, and Source has the error.
func System() *Topology { return system() }

// LoadFS reads a topology from a tree of files like /sys, which is os.DirFS("/sys").
//
// Files that are missing or may not be read are no error. Without a list of online nodes there is
// one node with all CPUs, without distances every other node is at 20, and a node of whose memory
// no file tells has some.
//
// Errors: ErrMalformed, with the file's name.
func LoadFS(tree fs.FS) (*Topology, error) {
	s := sysfs{tree}
	ids, err := s.list(nodeDir + "online")
	switch {
	case errors.Is(err, ErrMalformed):
		return nil, err
	case err != nil:
		return oneNode(s, err.Error())
	case len(ids) > 0 && ids[len(ids)-1] > maxNode:
		return nil, inFile(nodeDir+"online", fmt.Errorf("%w: node %d", ErrMalformed, ids[len(ids)-1]))
	case len(ids) == 0:
		return oneNode(s, "none is listed as online")
	}
	t := &Topology{source: "sysfs", sysfs: s}
	t.setNodes(ids)
	hasMemory, err := s.list(nodeDir + "has_memory")
	if errors.Is(err, ErrMalformed) {
		return nil, err
	}
	for i, n := range t.nodes {
		total, _, unknown := s.memory(n)
		listed := err == nil && slices.Contains(hasMemory, int(n))
		t.info[i].hasMemory = listed || total > 0 || err != nil && unknown != nil
		if err == nil && !listed && total > 0 {
			// The list has been seen to lack a node for a moment, just after the start of a
			// machine.
			t.source += fmt.Sprintf("; has_memory lacks node %d, which has some", n)
		}
	}
	if err := errors.Join(t.loadDistances(), t.loadCPUs()); err != nil {
		return nil, err
	}
	t.order()
	return t, nil
}

// setNodes allocates the tables for nodes with the given ids, ascending.
func (t *Topology) setNodes(ids []int) {
	t.info = make([]nodeInfo, len(ids))
	t.index = slices.Repeat([]int{-1}, ids[len(ids)-1]+1)
	for i, id := range ids {
		t.nodes = append(t.nodes, Node(id))
		t.index[id] = i
	}
}

func (t *Topology) loadDistances() error {
	for i, n := range t.nodes {
		distances, err := t.sysfs.distances(n, len(t.nodes))
		if errors.Is(err, ErrMalformed) {
			return err
		}
		if err != nil {
			distances = slices.Repeat([]int{20}, len(t.nodes))
			distances[i] = 10
		}
		t.info[i].distance = distances
	}
	return nil
}

func (t *Topology) loadCPUs() error {
	possible, err := t.sysfs.optionalList(cpuDir + "possible")
	if err != nil {
		return err
	}
	t.placeCPUs(NoNode, possible)
	for i, n := range t.nodes {
		cpus, err := t.sysfs.optionalList(nodeFile(n, "cpulist"))
		if err != nil {
			return err
		}
		t.info[i].cpus = cpus
		t.placeCPUs(n, cpus)
		t.placeCPUs(n, t.sysfs.cpusOf(n))
	}
	if len(t.nodeOf) == 0 {
		t.placeCPUs(NoNode, runtimeCPUs())
	}
	return nil
}

// placeCPUs extends the table of CPUs, and puts those of the CPUs that have no node yet on n. With
// numa=fake a CPU is listed on several nodes; the first one counts, as in the kernel.
func (t *Topology) placeCPUs(n Node, cpus []int) {
	for _, cpu := range cpus {
		for len(t.nodeOf) <= cpu {
			t.nodeOf = append(t.nodeOf, NoNode)
		}
		if t.nodeOf[cpu] == NoNode {
			t.nodeOf[cpu] = n
		}
	}
}

// oneNode describes a machine whose sysfs has no nodes. Kernels without NUMA support still list the
// CPUs.
func oneNode(s sysfs, why string) (*Topology, error) {
	online, err1 := s.optionalList(cpuDir + "online")
	possible, err2 := s.optionalList(cpuDir + "possible")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(online) == 0 {
		online = runtimeCPUs()
	}
	return assumeOneNode(s, online, possible, why), nil
}

func assumeOneNode(s sysfs, online, possible []int, why string) *Topology {
	t := &Topology{source: "one node assumed: " + why, assume: true, sysfs: s}
	t.setNodes([]int{0})
	t.info[0] = nodeInfo{cpus: online, hasMemory: true, distance: []int{10}}
	t.placeCPUs(0, online)
	t.placeCPUs(0, possible)
	t.order()
	return t
}

// runtimeCPUs guesses the CPUs without sysfs. The affinity mask alone has too few when this thread
// is pinned, and the runtime's number alone is too low when the process may use only high ids.
func runtimeCPUs() []int {
	cpus := make([]int, runtime.NumCPU())
	if m, err := sys.Affinity(); err == nil {
		if allowed := cpulist.Mask(m).IDs(); len(allowed) > 0 {
			cpus = make([]int, max(len(cpus), allowed[len(allowed)-1]+1))
		}
	}
	for i := range cpus {
		cpus[i] = i
	}
	return cpus
}

// loadOrAssume is LoadFS for callers that need a topology in any case.
func loadOrAssume(tree fs.FS) *Topology {
	t, err := LoadFS(tree)
	if err != nil {
		return assumeOneNode(sysfs{tree}, runtimeCPUs(), nil, err.Error())
	}
	return t
}
