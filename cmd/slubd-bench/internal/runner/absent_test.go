package runner

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestAbsentWorkloadsAreNamed asks for what the implementations don't have.
func TestAbsentWorkloadsAreNamed(t *testing.T) {
	for _, c := range []struct {
		run   string
		named bool
		names []string
		want  []string
	}{
		{"^rcu-read$", true, []string{workload.Pool}, []string{"rcu-read is not measured: only slubd, urcu can run it"}},
		{"^rcu-read$", false, []string{workload.Pool}, []string{"rcu-read is not measured: only slubd, urcu can run it"}},
		{"^(pair|larson|rcu-enter)$", true, []string{workload.Slubd, workload.Pool, workload.Go},
			[]string{"pool does not have larson, rcu-enter", "go does not have rcu-enter"}},
		{"^(pair|larson)$", false, []string{workload.Slubd, workload.Pool}, nil},
		{"^pair$", true, []string{workload.Pool}, nil},
	} {
		cfg := brief(c.names...)
		cfg.Named = c.named
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it is said before anything runs
		r, err := Run(ctx, plan(c.run, 1), cfg)
		if !errors.Is(err, context.Canceled) || !slices.Equal(r.Notes, c.want) {
			t.Errorf("%s of %v: notes %q, want %q, %v", c.run, c.names, r.Notes, c.want, err)
		}
	}
}
