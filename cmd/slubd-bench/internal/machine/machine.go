// Package machine reads what /sys and /proc say about the machine: its nodes, caches and CPUs, and
// what may spoil a measurement on it.
//
//	tree of files -> Read -> Machine -> Text        for people
//	                                 -> Order       CPUs in the order in which threads get them
//	                                 -> Places      nodes and L3 groups, for the matrix of -numa
//
// It measures nothing and changes nothing. Everything comes from one tree of files like /, so that
// tests describe machines that they don't have.
package machine

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/numa"
)

// Machine is what Read found. Field names of the JSON are stable.
type Machine struct {
	Source   string    `json:"source"` // of the nodes: "sysfs", or what is assumed and why
	Nodes    []Node    `json:"nodes"`
	L3       []L3      `json:"l3,omitempty"` // none if the kernel doesn't tell
	Findings []Finding `json:"findings"`

	topology *numa.Topology
	cpus     []cpu // those that this process may use, ascending
}

// Node is one NUMA node.
type Node struct {
	ID        numa.Node `json:"id"`
	CPUs      []int     `json:"cpus"`     // online
	Allowed   []int     `json:"allowed"`  // those that this process may use
	Cores     int       `json:"cores"`    // of its online CPUs
	Packages  []int     `json:"packages"` // the sockets that its CPUs are in
	Memory    int64     `json:"memory_bytes"`
	Free      int64     `json:"free_bytes"`
	Distances []int     `json:"distances"` // to each of Machine.Nodes; 10 is local
}

// L3 is a group of CPUs that share a third-level cache.
type L3 struct {
	Node numa.Node `json:"node"`
	CPUs []int     `json:"cpus"`
	Size string    `json:"size,omitempty"` // as the kernel writes it, such as "32768K"
}

// cpu is where one CPU is. Its core is named by the lowest CPU in it, its L3 group by an index.
type cpu struct {
	id, node, l3, core int
	sibling            int // 0 for the first CPU of a core, 1 for the next
}

// System reads the running machine.
func System() *Machine { return Read(os.DirFS("/")) }

// Read describes the machine that a tree of files like / belongs to. What a file doesn't tell stays
// empty, and is not an error.
func Read(tree fs.FS) *Machine {
	r := reader{tree}
	m := &Machine{topology: r.topology()}
	m.Source = m.topology.Source()
	allowed, known := r.list("proc/self/status", "Cpus_allowed_list:")
	for _, id := range m.topology.Nodes() {
		n := Node{ID: id, CPUs: m.topology.CPUs(id)}
		n.Memory, n.Free = m.topology.Memory(id)
		for _, other := range m.topology.Nodes() {
			n.Distances = append(n.Distances, m.topology.Distance(id, other))
		}
		var cores []int
		for _, c := range n.CPUs {
			if !known || slices.Contains(allowed, c) {
				n.Allowed = append(n.Allowed, c)
			}
			cores = append(cores, r.core(c)[0])
			if p, err := strconv.Atoi(r.cpu(c, "topology/physical_package_id")); err == nil {
				n.Packages = append(n.Packages, p)
			}
			m.addL3(id, r.l3(c))
		}
		n.Cores, n.Packages = len(distinct(cores)), distinct(n.Packages)
		m.Nodes = append(m.Nodes, n)
	}
	for i, n := range m.Nodes {
		for _, id := range n.Allowed {
			siblings := r.core(id)
			m.cpus = append(m.cpus, cpu{
				id: id, node: i, l3: m.groupOf(id), core: siblings[0], sibling: slices.Index(siblings, id),
			})
		}
	}
	slices.SortFunc(m.cpus, func(a, b cpu) int { return cmp.Compare(a.id, b.id) })
	m.Findings = r.findings(m)
	return m
}

// Topology returns the nodes in the form that package numa and arenas use.
func (m *Machine) Topology() *numa.Topology { return m.topology }

// addL3 adds a group, once.
func (m *Machine) addL3(node numa.Node, g L3) {
	if len(g.CPUs) == 0 || m.groupOf(g.CPUs[0]) >= 0 {
		return
	}
	g.Node = node
	m.L3 = append(m.L3, g)
}

// groupOf returns the index of a CPU's L3 group, -1 if it is not known.
func (m *Machine) groupOf(cpu int) int {
	return slices.IndexFunc(m.L3, func(g L3) bool { return slices.Contains(g.CPUs, cpu) })
}

// reader reads files. What can't be read is empty.
type reader struct{ tree fs.FS }

// topology reads the nodes. A malformed file leaves the topology that package numa assumes.
func (r reader) topology() *numa.Topology {
	sys, err := fs.Sub(r.tree, "sys")
	if err != nil {
		return numa.System()
	}
	t, err := numa.LoadFS(sys)
	if err != nil {
		return numa.System()
	}
	return t
}

// text returns a file without the white space around it.
func (r reader) text(file string) string {
	text, err := fs.ReadFile(r.tree, file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// field returns what follows a key at the start of a line of a file.
func (r reader) field(file, key string) string {
	for line := range strings.Lines(r.text(file)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// list reads a list of ids behind a key. known is false if there is none.
func (r reader) list(file, key string) (ids []int, known bool) {
	text := r.field(file, key)
	ids, err := cpulist.Parse(text)
	return ids, err == nil && text != ""
}

const cpuDir = "sys/devices/system/cpu/"

// cpu returns the text of a file of one CPU.
func (r reader) cpu(id int, file string) string {
	return r.text(fmt.Sprintf("%scpu%d/%s", cpuDir, id, file))
}

// core returns the CPUs of a CPU's core, itself among them.
func (r reader) core(id int) []int {
	siblings, err := cpulist.Parse(r.cpu(id, "topology/thread_siblings_list"))
	if err != nil || !slices.Contains(siblings, id) {
		return []int{id}
	}
	return siblings
}

// maxCaches is the number of caches that are looked at for each CPU: its levels, and some.
const maxCaches = 8

// l3 returns the group that a CPU belongs to, without CPUs if it is not known.
func (r reader) l3(id int) L3 {
	for i := range maxCaches {
		dir := fmt.Sprintf("cache/index%d/", i)
		if r.cpu(id, dir+"level") != "3" {
			continue
		}
		cpus, err := cpulist.Parse(r.cpu(id, dir+"shared_cpu_list"))
		if err == nil && slices.Contains(cpus, id) {
			return L3{CPUs: cpus, Size: r.cpu(id, dir+"size")}
		}
	}
	return L3{}
}

// distinct sorts a list and drops duplicates.
func distinct(list []int) []int {
	slices.Sort(list)
	return slices.Compact(list)
}

// CPUCount returns the number of CPUs that this process may use, at least 1.
func (m *Machine) CPUCount() int {
	if len(m.cpus) == 0 {
		return runtime.NumCPU()
	}
	return len(m.cpus)
}
