package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/metrics"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// childEnv is the environment variable that marks a process as a child.
const childEnv = "SLUBD_BENCH_CHILD"

// op is what a request asks for.
type op string

const (
	opHello    op = "hello"    // verify that malloc comes from the library that exports Symbol
	opLoad     op = "load"     // load the loops at Path; a native RCU's library exports Symbol
	opRun      op = "run"      // measure Spec with the C loops
	opBuild    op = "build"    // make the population that opCollect collects
	opCollect  op = "collect"  // force a collection
	opResident op = "resident" // measure resident bytes
	opRelease  op = "release"  // answer with the Go release that has built the child
	opOpen     op = "open"     // open the Go loops of Alloc for Spec
	opLoop     op = "loop"     // measure Spec with the loops that are open
	opClose    op = "close"    // close them
)

// request is one line to a child.
type request struct {
	Op     op            `json:"op"`
	Symbol string        `json:"symbol,omitempty"` // hello, load
	Path   string        `json:"path,omitempty"`   // load
	Alloc  string        `json:"alloc,omitempty"`  // build, resident, open: the implementation
	Spec   workload.Spec `json:"spec"`             // run, build, resident, open, loop
}

// answer is the line that comes back.
type answer struct {
	Error    string          `json:"error,omitempty"`
	Provider string          `json:"provider,omitempty"` // the file of malloc, or of Symbol
	Version  string          `json:"version,omitempty"`  // hello: its name and version; release
	Sample   workload.Sample `json:"sample"`
}

// ServeChild answers requests and exits if this process is a child; otherwise it returns.
func ServeChild() {
	if os.Getenv(childEnv) == "" {
		return
	}
	signal.Ignore(os.Interrupt) // Ctrl-C reaches all processes of a terminal; the parent handles it
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "slubd-bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers requests until the input ends.
func serve(in io.Reader, out io.Writer) error {
	var s server
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		a, err := s.answer(r)
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
	}
}

// server keeps what one request makes for the next.
type server struct {
	population *loops.Population
	session    *loops.Session
}

// errNothingBuilt reports a collection before a population was built, errNotOpen a run of loops
// that are not open.
var (
	errNothingBuilt = errors.New("there is no heap to collect")
	errNotOpen      = errors.New("no loops are open")
)

func (s *server) answer(r request) (a answer, err error) {
	switch r.Op {
	case opHello:
		a.Provider, err = native.Verify(r.Symbol)
		a.Version = native.Version()
	case opLoad:
		err = native.Load(r.Path)
		a.Provider = native.Provider(r.Symbol)
	case opRun:
		a.Sample, err = runCounted(r.Spec)
	case opBuild:
		s.population, err = loops.Build(r.Alloc, r.Spec.Kind, r.Spec.Live)
		if err == nil {
			err = s.population.Check(r.Spec.Live)
		}
	case opCollect:
		if s.population == nil {
			return a, errNothingBuilt
		}
		a.Sample = s.population.Collect()
	case opResident:
		a.Sample, err = loops.Resident(r.Alloc, r.Spec.Live)
	case opRelease:
		a.Version = runtime.Version()
	case opOpen:
		s.session, err = loops.Open(r.Alloc, r.Spec)
	case opLoop:
		if s.session == nil {
			return a, errNotOpen
		}
		a.Sample, err = s.session.Run(r.Spec)
	case opClose:
		if s.session == nil {
			return a, errNotOpen
		}
		err = s.session.Close()
		s.session = nil
	default:
		err = fmt.Errorf("unknown request %q", r.Op)
	}
	return a, err
}

// runCounted runs the C loops and reports the cgo calls, which must not be one per operation.
func runCounted(spec workload.Spec) (workload.Sample, error) {
	before := cgoCalls()
	sample, err := native.Run(spec)
	if err != nil {
		return sample, err
	}
	if sample.Extra == nil {
		sample.Extra = map[string]float64{}
	}
	sample.Extra[workload.CgoCalls] = float64(cgoCalls()-before) / float64(spec.Pairs())
	return sample, nil
}

func cgoCalls() uint64 {
	sample := []metrics.Sample{{Name: "/cgo/go-to-c-calls:calls"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
