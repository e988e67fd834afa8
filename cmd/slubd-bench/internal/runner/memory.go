package runner

import (
	"fmt"
	"math"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/arena"
)

// Memory is what was resident while the suite ran, read before each case and after each run, never
// in the timed part. Field names are stable.
type Memory struct {
	Series []MemorySeries `json:"series"`
	Cases  []CaseStart    `json:"cases"` // in order
}

// MemorySeries is the memory of a process, or a part of it, over time.
type MemorySeries struct {
	Name   string        `json:"name"`
	Points []MemoryPoint `json:"points"`
}

// MemoryPoint is one reading.
type MemoryPoint struct {
	Seconds float64 `json:"s"` // since the suite's start
	Bytes   int64   `json:"bytes"`
}

// CaseStart is when the runs of a case began.
type CaseStart struct {
	Seconds float64 `json:"s"`
	Name    string  `json:"name"`
}

// Names of the series of this process, and of its parts. The process runs slubd, Go's heap,
// sync.Pool and Go's maps, so its own has all of them.
const (
	MemoryProcess = "process of Go's loops"
	MemoryArena   = "slubd's arena"
	MemoryGoHeap  = "Go's heap"
)

// memory is the state of the readings. A nil one reads nothing.
type memory struct {
	Memory
	begin time.Time
}

// at returns the time since the start, in seconds with a resolution of 1 ms.
func (m *memory) at() float64 { return math.Round(time.Since(m.begin).Seconds()*1e3) / 1e3 }

// start notes that the runs of a case begin.
func (m *memory) start(c Case) {
	if m != nil {
		m.Cases = append(m.Cases, CaseStart{m.at(), c.String()})
	}
}

// add adds a reading to a series.
func (m *memory) add(name string, bytes int64) {
	i := slices.IndexFunc(m.Series, func(s MemorySeries) bool { return s.Name == name })
	if i < 0 {
		i, m.Series = len(m.Series), append(m.Series, MemorySeries{Name: name})
	}
	m.Series[i].Points = append(m.Series[i].Points, MemoryPoint{m.at(), bytes})
}

// read reads the memory of this process and of the children that run C loops, and of the one that
// a target has for itself, if any.
func (r *run) readMemory(e *entry) {
	m := r.memory
	if m == nil {
		return
	}
	m.readProcess(MemoryProcess, "self")
	m.add(MemoryGoHeap, goHeap())
	if a, err := arena.Default(); err == nil {
		m.add(MemoryArena, arenaBytes(a.Stats()))
	}
	for _, name := range r.present {
		if p := r.processes[name]; p != nil && p.failed == nil {
			m.readProcess(name, strconv.Itoa(p.cmd.Process.Pid))
		}
	}
	if e == nil {
		return
	}
	if own, ok := e.target.(population); ok && own.process.failed == nil {
		m.readProcess(e.name+" (heap of gc)", strconv.Itoa(own.process.cmd.Process.Pid))
	}
}

// readProcess adds a process's resident memory. Where there is no /proc it adds nothing.
func (m *memory) readProcess(name, pid string) {
	text, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return // the process may have ended, which its next call reports
	}
	if bytes, err := residentOf(string(text)); err == nil {
		m.add(name, bytes)
	}
}

// residentOf returns the second field of statm, in bytes.
func residentOf(statm string) (int64, error) {
	f := strings.Fields(statm)
	if len(f) < 2 {
		return 0, fmt.Errorf("statm has %d fields", len(f))
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// goHeap returns the bytes of Go's heap that have not been given back to the kernel.
func goHeap() (bytes int64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		bytes += int64(s.Value.Uint64())
	}
	return bytes
}

// arenaBytes returns what an arena has that is perhaps resident.
func arenaBytes(s arena.Stats) int64 {
	bytes := s.Mapped + s.MappedFree + s.Metadata
	for _, n := range s.Nodes {
		bytes += n.Used + n.Free
	}
	return bytes
}
