package workload

// The workloads of this file are about NUMA nodes. Each pins its one thread itself, to a CPU of the
// node that it is about, and needs a machine with more than one node; see NeedsError.
const (
	PhaseChange    Kind = "phase-change"
	PhaseUntouched Kind = "phase-untouched"
	NodeFull       Kind = "node-full"
	CXL            Kind = "cxl"
)

const (
	// NodesLive is how many objects the thread of a workload of this file keeps and replaces.
	NodesLive = 10_000
	// PhaseFill is how many objects the first node of phase-change allocates, and PhaseKeep how
	// many of them it keeps: one in ten, in random places.
	PhaseFill, PhaseKeep = 400_000, PhaseFill / 10
)

// OnNodes reports whether the workload is one of this file.
func (k Kind) OnNodes() bool {
	switch k {
	case PhaseChange, PhaseUntouched, NodeFull, CXL:
		return true
	}
	return false
}

// byNodes returns the workloads of this file.
func byNodes() []Workload {
	list := []Workload{
		{Name: "phase-change", Kind: PhaseChange, About: "one node allocates 400000 objects and frees nine in ten, then another replaces 10000 of its own"},
		{Name: "phase-untouched", Kind: PhaseUntouched, About: "the second half of phase-change alone, for comparison"},
		{Name: "node-full", Kind: NodeFull, About: "10000 live objects, a random one replaced; the node may have half of them, so the others lie elsewhere"},
		{Name: "cxl", Kind: CXL, About: "the same by AllocNode, on a node that has memory and no CPUs"},
	}
	for i := range list {
		list[i].Names = []string{Slubd}
	}
	return list
}

// NeedsError says that this machine can't run a workload, and what it lacks. It is no failure.
type NeedsError struct{ What string }

func (e *NeedsError) Error() string { return "needs " + e.What }

// RemoteShare is an extra of this file's workloads: the share of the live objects at the end of a
// run that the kernel, when asked, has on another node than it should. It is absent where the
// kernel doesn't tell.
const RemoteShare = "remote_share"
