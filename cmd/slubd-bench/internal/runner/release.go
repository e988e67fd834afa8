package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// The heap of another Go release is measured in a child that this release has built of the same
// source. The go command finds the release, or downloads it (GOTOOLCHAIN).

// ErrRelease reports Go releases without which a suite is not to run.
var ErrRelease = errors.New("toolchain")

// program is what the go command builds. Its path is that of package main, whatever program this
// is: tests are another one.
const program = "github.com/slubd/slubd/cmd/slubd-bench"

// built returns the file of this program as the named release builds it. It builds it once, and
// checks that the child is of that release.
func (r *run) built(ctx context.Context, release string) (file string, err error) {
	if file, ok := r.releases[release]; ok {
		return file, nil
	}
	if err := r.makeDir(); err != nil {
		return "", err
	}
	file = filepath.Join(r.dir, "slubd-bench-"+release)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, program)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+release)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s with GOTOOLCHAIN=%s: %w\n%s", cmd, release, err, bytes.TrimSpace(out))
	}
	p, err := startProgram(file)
	if err != nil {
		return "", err
	}
	defer p.close()
	a, err := p.callBounded(ctx, request{Op: opRelease})
	if err == nil && a.Version != release {
		err = fmt.Errorf("the go command has built it with %s", a.Version)
	}
	if err != nil {
		return "", err
	}
	r.releases[release] = file
	return file, nil
}

// released runs the loops of the Go heap in a child of another release.
type released struct{ process *process }

func openRelease(ctx context.Context, file string, s workload.Spec) (target, error) {
	p, err := startProgram(file)
	if err != nil {
		return nil, err
	}
	if _, err := p.callBounded(ctx, request{Op: opOpen, Alloc: workload.Go, Spec: s}); err != nil {
		_ = p.close()
		return nil, err
	}
	return released{process: p}, nil
}

func (p released) run(ctx context.Context, s workload.Spec) (workload.Sample, error) {
	a, err := p.process.callBounded(ctx, request{Op: opLoop, Spec: s})
	return a.Sample, err
}

func (p released) close() error {
	_, err := p.process.callBounded(context.Background(), request{Op: opClose})
	return errors.Join(err, p.process.close())
}
