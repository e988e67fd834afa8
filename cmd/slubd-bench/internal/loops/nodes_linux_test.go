package loops

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// pretend describes a machine with the given nodes.
func pretend(nodes ...testutil.SysNode) *machine.Machine {
	tree := fstest.MapFS{}
	for name, file := range testutil.SysFS(nodes...) {
		tree["sys/"+name] = file
	}
	return machine.Read(tree)
}

var onNodes = []workload.Kind{workload.PhaseChange, workload.PhaseUntouched, workload.NodeFull, workload.CXL}

// TestNodesRun has this machine's CPUs on nodes of a machine that doesn't exist. The kernel refuses
// to place memory there, which is an error for AllocNode alone.
func TestNodesRun(t *testing.T) {
	cpus := allowed(t)
	m := pretend(
		testutil.SysNode{ID: 0, CPUs: cpus[:1], Memory: 8 << 30},
		testutil.SysNode{ID: 1, CPUs: cpus[1:], Memory: 8 << 30},
		testutil.SysNode{ID: 2, Memory: 8 << 30})
	for _, kind := range onNodes {
		spec := workload.Workload{Kind: kind}.Spec(1, 64, 1).WithOps(5000)
		target, err := openNodes(spec, m)
		if len(cpus) == 1 && (kind == workload.PhaseChange || kind == workload.PhaseUntouched) {
			if needs := new(workload.NeedsError); !errors.As(err, &needs) {
				t.Errorf("%s with one CPU: %v", kind, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		s := &Session{target: target}
		for range 2 {
			sample, err := s.Run(spec) // also fails if an object is left over
			if kind == workload.CXL && errors.Is(err, slub.ErrPlacement) {
				break
			}
			if err != nil || sample.Value <= 0 {
				t.Errorf("%s: %+v, %v", kind, sample, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestNodesSayWhatTheyNeed(t *testing.T) {
	cpus := allowed(t)
	one := pretend(testutil.SysNode{CPUs: cpus, Memory: 1 << 30})
	memoryless := pretend(testutil.SysNode{CPUs: cpus, Memory: 1 << 30}, testutil.SysNode{ID: 1})
	for _, m := range []*machine.Machine{one, memoryless} {
		for _, kind := range onNodes {
			_, err := openNodes(workload.Workload{Kind: kind}.Spec(1, 64, 1), m)
			if needs := new(workload.NeedsError); !errors.As(err, &needs) || needs.What[:7] != "2 nodes" {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}

// TestNodesFailCleanly has the second node's CPU not exist.
func TestNodesFailCleanly(t *testing.T) {
	m := pretend(testutil.SysNode{ID: 0, CPUs: allowed(t)[:1], Memory: 8 << 30}, testutil.SysNode{ID: 1, CPUs: []int{8190}, Memory: 8 << 30})
	spec := workload.Workload{Kind: workload.PhaseChange}.Spec(1, 64, 1).WithOps(100)
	target, err := openNodes(spec, m)
	if err != nil {
		t.Fatal(err)
	}
	if sample, err := (&Session{target: target}).Run(spec); err == nil {
		t.Errorf("%+v", sample)
	}
}
