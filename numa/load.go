package numa

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/slubd/slubd/internal/sys"
)

var system = sync.OnceValue(func() *Topology { return loadOrAssume(os.DirFS("/sys")) })

// System returns the machine's topology, loaded at the first call. A malformed
// sysfs counts as none, with the error in Source.
func System() *Topology { return system() }

// Load reads the machine's topology from /sys. It is LoadFS for that tree.
func Load() (*Topology, error) { return LoadFS(os.DirFS("/sys")) }

// LoadFS reads a topology from a tree rooted where /sys is.
//
// Files that are missing or may not be read are no error: without a list of
// online nodes there is one node with all CPUs, without a distance every other
// node is at 20, and without a word on memory a node has some.
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
		if err == nil {
			t.info[i].hasMemory = slices.Contains(hasMemory, int(n))
		} else {
			total, _, err := s.memory(n)
			t.info[i].hasMemory = err != nil || total > 0
		}
	}
	if err := errors.Join(t.loadDistances(), t.loadCPUs()); err != nil {
		return nil, err
	}
	t.order()
	return t, nil
}

// setNodes makes room for the nodes of the given ids, ascending.
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
		row, err := t.sysfs.distances(n, len(t.nodes))
		if errors.Is(err, ErrMalformed) {
			return err
		}
		if err != nil {
			row = slices.Repeat([]int{20}, len(t.nodes))
			row[i] = 10
		}
		t.info[i].distance = row
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

// placeCPUs makes room for the CPUs and puts those that have no node yet on n.
// With numa=fake a CPU is listed on several nodes; the kernel, like us, counts
// it to the first.
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

// oneNode describes a machine that says nothing about nodes. Kernels without
// NUMA support still list the CPUs.
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
	t := &Topology{source: "one node assumed: " + why, sysfs: s}
	t.setNodes([]int{0})
	t.info[0] = nodeInfo{cpus: online, hasMemory: true, distance: []int{10}}
	t.placeCPUs(0, online)
	t.placeCPUs(0, possible)
	t.order()
	return t
}

// runtimeCPUs guesses the CPUs without sysfs. The affinity mask alone would be
// too few when this thread has been pinned, and the runtime's number alone too
// low when the process may only use high ids.
func runtimeCPUs() []int {
	cpus := make([]int, runtime.NumCPU())
	if m, err := sys.Affinity(); err == nil {
		if allowed := mask(m).ids(); len(allowed) > 0 {
			cpus = make([]int, max(len(cpus), allowed[len(allowed)-1]+1))
		}
	}
	for i := range cpus {
		cpus[i] = i
	}
	return cpus
}

// loadOrAssume is LoadFS for callers that must have a topology.
func loadOrAssume(tree fs.FS) *Topology {
	t, err := LoadFS(tree)
	if err != nil {
		return assumeOneNode(sysfs{tree}, runtimeCPUs(), nil, err.Error())
	}
	return t
}
