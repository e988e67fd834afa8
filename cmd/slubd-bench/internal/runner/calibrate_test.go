package runner

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// clockwork is a target whose operations take exactly perOp.
type clockwork struct {
	perOp time.Duration
	runs  int
	err   error
}

func (c *clockwork) run(_ context.Context, s workload.Spec) (workload.Sample, error) {
	c.runs++
	return workload.Sample{Elapsed: time.Duration(s.Ops) * c.perOp}, c.err
}
func (*clockwork) close() error { return nil }

func TestCalibrationFillsTheBenchTime(t *testing.T) {
	const bench = 20 * time.Millisecond
	for _, perOp := range []time.Duration{1, 20, 3000, time.Millisecond, time.Second} {
		c := &clockwork{perOp: perOp}
		s, err := calibrate(t.Context(), c, workload.Spec{Batch: 1}, bench)
		if err != nil {
			t.Fatal(err)
		}
		if want := max(1, int(bench/perOp)); s.Ops < want || s.Ops > want+want/100+1 || s.Warm < 1 || s.Warm > s.Ops {
			t.Errorf("%v per operation: %d operations, %d to warm up", perOp, s.Ops, s.Warm)
		}
		if c.runs > 3 {
			t.Errorf("%v per operation took %d runs to calibrate", perOp, c.runs)
		}
	}
}

func TestCalibrationKeepsLeastGracePeriods(t *testing.T) {
	s, err := calibrate(t.Context(), &clockwork{perOp: time.Second}, workload.Spec{Kind: workload.GPLatency}, time.Millisecond)
	if err != nil || s.Ops != workload.GPLatency.Least() {
		t.Errorf("%d grace periods of a second in a millisecond, %v", s.Ops, err)
	}
}

func TestCalibrationEnds(t *testing.T) {
	broken := &clockwork{err: errors.New("broken")}
	if _, err := calibrate(t.Context(), broken, workload.Spec{}, time.Second); !errors.Is(err, broken.err) || broken.runs != 1 {
		t.Errorf("a failing run: %v after %d runs", err, broken.runs)
	}
	if s, err := calibrate(t.Context(), &clockwork{}, workload.Spec{}, time.Second); err != nil || s.Ops > maxOps {
		t.Errorf("a stopped clock: %d operations, %v", s.Ops, err)
	}
}
