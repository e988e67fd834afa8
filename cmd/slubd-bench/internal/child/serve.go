package child

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/metrics"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/heap"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Main serves and exits when this process is a child; otherwise it returns.
func Main() {
	if os.Getenv(Env) == "" {
		return
	}
	// A Ctrl-C goes to all processes of the terminal; the parent decides.
	signal.Ignore(os.Interrupt)
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
		var r Request
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

// server keeps what lives from one request to the next.
type server struct{ population *heap.Population }

// errNothingBuilt reports a Collect before Build.
var errNothingBuilt = errors.New("nothing was built to collect")

func (s *server) answer(r Request) (a Answer, err error) {
	switch r.Op {
	case Hello:
		a.Provider, err = native.Verify(r.Symbol)
		a.Version = native.Version()
	case Load:
		err = native.Load(r.Path)
	case Run:
		a.Sample, err = counted(r.Spec)
	case Build:
		s.population, err = heap.Build(r.Alloc, r.Spec.Kind, r.Spec.Live)
		if err == nil {
			err = s.population.Check(r.Spec.Live)
		}
	case Collect:
		if s.population == nil {
			return a, errNothingBuilt
		}
		a.Sample = s.population.Collect()
	case Resident:
		a.Sample, err = heap.Resident(r.Alloc, r.Spec.Live)
	default:
		err = fmt.Errorf("unknown request %q", r.Op)
	}
	return a, err
}

// counted runs the C loops and reports how many cgo calls that took, so that
// the parent can see that it was not one per operation.
func counted(spec workload.Spec) (workload.Sample, error) {
	before := cgoCalls()
	sample, err := native.Run(spec)
	if err == nil {
		calls := cgoCalls() - before
		if sample.Extra == nil {
			sample.Extra = map[string]float64{}
		}
		sample.Extra[workload.CgoCalls] = float64(calls) / float64(spec.Pairs())
	}
	return sample, err
}

func cgoCalls() uint64 {
	sample := []metrics.Sample{{Name: "/cgo/go-to-c-calls:calls"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
