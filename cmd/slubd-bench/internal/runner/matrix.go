package runner

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/numa"
)

// What the rows and columns of a matrix are.
const (
	ByNode = "node"
	ByL3   = "l3"
)

// Crossing is one entry of "numa" in the JSON document: objects allocated on one node, or L3 group,
// and freed on another. Field names are stable.
type Crossing struct {
	By         string  `json:"by"`          // ByNode or ByL3
	Alloc      int     `json:"alloc"`       // a node's number, or a group's in env
	MemoryOnly bool    `json:"memory_only"` // the node has no CPUs: the objects are AllocNode's
	Free       int     `json:"free"`
	Method     string  `json:"method"`
	Size       int     `json:"size"`     // bytes
	AllocNs    float64 `json:"alloc_ns"` // per object, the median
	FreeNs     float64 `json:"free_ns"`
	N          int     `json:"n"`       // runs
	Objects    int     `json:"objects"` // number of those whose place the kernel told, of all runs
	Remote     int     `json:"remote"`  // of these, those that are on another node than they should
	// AllocInterval and FreeInterval are where the medians lie; nil if there are too few runs.
	AllocInterval *stat.Interval `json:"alloc_interval,omitempty"`
	FreeInterval  *stat.Interval `json:"free_interval,omitempty"`
}

// cell is a Crossing and its runs so far.
type cell struct {
	Crossing
	run          loops.Crossing
	allocs, free []float64
	failed       bool
}

// cellsOf makes the cells of a matrix.
func cellsOf(by string, places []machine.Place, sizes []int, cfg Config) (cells []*cell) {
	for _, size := range sizes {
		for _, from := range places {
			for _, to := range places {
				if to.MemoryOnly {
					continue
				}
				for _, method := range loops.Methods() {
					c := &cell{
						Crossing: Crossing{By: by, Alloc: from.ID, MemoryOnly: from.MemoryOnly, Free: to.ID, Method: string(method), Size: size},
						run: loops.Crossing{
							AllocCPU: from.CPU, FreeCPU: to.CPU, Node: numa.NoNode, Method: method, Size: size, Time: cfg.BenchTime,
						},
					}
					if from.MemoryOnly {
						c.run.Node = from.Node
					}
					cells = append(cells, c)
				}
			}
		}
	}
	return cells
}

// Matrix measures what it costs to allocate on each node and free on each, and the same for L3
// groups if there are several. In each round every cell runs once, in an order drawn from the seed.
// If ctx ends early, the report has the cells finished until then, and the error is ctx's.
func Matrix(ctx context.Context, m *machine.Machine, sizes []int, cfg Config) (Report, error) {
	r := &run{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0)), report: Report{Versions: map[string]string{}}}
	cells := cellsOf(ByNode, m.NodePlaces(), sizes, cfg)
	if len(m.Nodes) == 1 {
		r.report.Notes = append(r.report.Notes, "this machine has one node: nothing here crosses from one node to another ("+m.Source+")")
	}
	groups, note := m.GroupPlaces()
	if note != "" {
		r.report.Notes = append(r.report.Notes, note)
	}
	if len(groups) > 1 {
		cells = append(cells, cellsOf(ByL3, groups, sizes, cfg)...)
	}
	r.step.Runs = cfg.Count * len(cells)
	unknown := ""
	for round := range cfg.Count {
		for _, i := range r.random.Perm(len(cells)) {
			c := cells[i]
			if ctx.Err() != nil || c.failed {
				continue
			}
			r.progress(c.asCase(), c.Method, fmt.Sprintf("round %d of %d", round+1, cfg.Count))
			x, err := c.run.Run()
			if err != nil {
				r.fail(ctx, c.asCase(), workload.Slubd, err)
				c.failed = true
				continue
			}
			if x.Unknown != nil {
				unknown = "the kernel doesn't tell where memory is: " + x.Unknown.Error()
			}
			c.allocs, c.free = append(c.allocs, x.AllocNs), append(c.free, x.FreeNs)
			c.Objects, c.Remote = c.Objects+x.Objects, c.Remote+x.Remote
			r.step.Done++
		}
	}
	if unknown != "" {
		r.report.Notes = append(r.report.Notes, unknown)
	}
	for _, c := range cells {
		if !c.failed && len(c.allocs) > 0 {
			c.condense()
			r.report.Matrix = append(r.report.Matrix, c.Crossing)
		}
	}
	return r.report, ctx.Err()
}

// condense sets what is said of a cell's runs.
func (c *cell) condense() {
	c.N = len(c.allocs)
	c.AllocNs, c.AllocInterval = stat.Of(c.allocs)
	c.FreeNs, c.FreeInterval = stat.Of(c.free)
	c.AllocNs, c.FreeNs = round(c.AllocNs), round(c.FreeNs)
}

// asCase names the cell for progress and failures.
func (c *cell) asCase() Case {
	name := fmt.Sprintf("%s %d to %d", c.By, c.Alloc, c.Free)
	return Case{Workload: workload.Workload{Name: name}, Spec: workload.Spec{Threads: 2, Size: c.Size}}
}
