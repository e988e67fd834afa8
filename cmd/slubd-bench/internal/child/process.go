package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrDied reports a child that ended instead of answering.
var ErrDied = errors.New("child process died")

// Process is a running child. It is used by one goroutine at a time.
type Process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	encoder *json.Encoder
	answers chan answered // closed after the read error that ends a child
	stderr  *tail
	failed  error // why no further Call can succeed
}

type answered struct {
	Answer
	err error
}

// Start executes this program as a child. The libraries of preload, of which
// empty ones don't count, become its LD_PRELOAD; an inherited one is dropped in
// any case.
func Start(preload ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting a child process: %w", err)
	}
	p := &Process{cmd: exec.Command(self), answers: make(chan answered), stderr: new(tail)}
	p.cmd.Env = environ(os.Environ(), preload...)
	p.cmd.Stderr = p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting a child process: %w", err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a child process: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a child process: %w", err)
	}
	p.encoder = json.NewEncoder(p.stdin)
	go p.read(stdout)
	return p, nil
}

// environ is the parent's environment with Env set and LD_PRELOAD replaced.
func environ(parent []string, preload ...string) []string {
	env := []string{Env + "=1"}
	preload = slices.DeleteFunc(slices.Clone(preload), func(path string) bool { return path == "" })
	if len(preload) > 0 {
		env = append(env, "LD_PRELOAD="+strings.Join(preload, ":"))
	}
	for _, v := range parent {
		if !strings.HasPrefix(v, "LD_PRELOAD=") && !strings.HasPrefix(v, Env+"=") {
			env = append(env, v)
		}
	}
	return env
}

// read turns stdout into answers. After the one that reports the end it
// leaves, so that Call never waits for a dead child.
func (p *Process) read(stdout io.Reader) {
	defer close(p.answers)
	decoder := json.NewDecoder(stdout)
	for {
		var a answered
		a.err = decoder.Decode(&a.Answer)
		p.answers <- a
		if a.err != nil {
			return
		}
	}
}

// Call sends r and waits for the answer, for the child's death, or for ctx,
// whose end kills the child. After a death all Calls fail. Errors
// don't say whose child it is: callers know.
func (p *Process) Call(ctx context.Context, r Request) (Answer, error) {
	if p.failed != nil {
		return Answer{}, p.failed
	}
	// A write to a dead child fails; its end is then read below.
	_ = p.encoder.Encode(r)
	select {
	case a := <-p.answers:
		if a.err != nil {
			return Answer{}, p.bury(ErrDied, patience)
		}
		if a.Error != "" {
			return a.Answer, errors.New(a.Error)
		}
		return a.Answer, nil
	case <-ctx.Done():
		return Answer{}, p.bury(fmt.Errorf("no answer to %q: %w", r.Op, context.Cause(ctx)), 0)
	}
}

// Err returns why no further Call can succeed, or nil.
func (p *Process) Err() error { return p.failed }

// Close lets the child end and waits for it. It is idempotent and nil-safe.
func (p *Process) Close() error {
	if p == nil || p.failed != nil {
		return nil
	}
	p.failed = fmt.Errorf("child process: %w", os.ErrClosed)
	if err := p.end(patience); err != nil {
		return fmt.Errorf("child process: %w%s", err, p.stderr.text())
	}
	return nil
}

// bury makes sure that the child is gone and keeps err with its last words.
func (p *Process) bury(err error, wait time.Duration) error {
	state := ""
	if end := p.end(wait); end != nil {
		state = " (" + end.Error() + ")"
	}
	p.failed = fmt.Errorf("%w%s%s", err, state, p.stderr.text())
	return p.failed
}

// patience is what a child gets to end by itself: on a busy machine one that
// was just started needs seconds to notice.
const patience = 10 * time.Second

// end closes the child's input, kills it if it still runs after wait, and
// returns how it ended.
func (p *Process) end(wait time.Duration) error {
	_ = p.stdin.Close()
	timer := time.AfterFunc(wait, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for range p.answers {
		// Nobody waits for what it still says; read leaves once stdout ends.
	}
	return p.cmd.Wait()
}
