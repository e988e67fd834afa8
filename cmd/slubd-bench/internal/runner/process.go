package runner

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

// errDied reports a child that ended instead of answering.
var errDied = errors.New("child process died")

// process is a running child. It is used by one goroutine at a time.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	encoder *json.Encoder
	answers chan answered // closed after the read error that a child's end causes
	stderr  *excerpt
	failed  error // why no call can succeed any more
}

type answered struct {
	answer
	err error
}

// startProcess executes this program as a child. The libraries of preload become its LD_PRELOAD;
// empty ones are ignored, and an inherited LD_PRELOAD is dropped.
func startProcess(preload ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(self, preload...)
}

// startProgram is startProcess for this program or one that another Go release has built of it.
func startProgram(file string, preload ...string) (*process, error) {
	p := &process{answers: make(chan answered), stderr: new(excerpt)}
	stdout, err := p.start(file, preload)
	if err != nil {
		return nil, fmt.Errorf("starting a child process: %w", err)
	}
	p.encoder = json.NewEncoder(p.stdin)
	go p.read(stdout)
	return p, nil
}

func (p *process) start(file string, preload []string) (stdout io.Reader, err error) {
	p.cmd = exec.Command(file)
	p.cmd.Env = childEnviron(os.Environ(), preload...)
	p.cmd.Stderr = p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return stdout, p.cmd.Start()
}

// childEnviron is the parent's environment with childEnv set and LD_PRELOAD replaced.
func childEnviron(parent []string, preload ...string) []string {
	env := []string{childEnv + "=1"}
	preload = slices.DeleteFunc(slices.Clone(preload), func(path string) bool { return path == "" })
	if len(preload) > 0 {
		env = append(env, "LD_PRELOAD="+strings.Join(preload, ":"))
	}
	for _, v := range parent {
		if !strings.HasPrefix(v, "LD_PRELOAD=") && !strings.HasPrefix(v, childEnv+"=") {
			env = append(env, v)
		}
	}
	return env
}

// read decodes answers from stdout. It ends after the first error, so that call never waits for a
// dead child.
func (p *process) read(stdout io.Reader) {
	defer close(p.answers)
	decoder := json.NewDecoder(stdout)
	for {
		var a answered
		a.err = decoder.Decode(&a.answer)
		p.answers <- a
		if a.err != nil {
			return
		}
	}
}

// call sends r and waits for the answer, for the child's death, or for the end of ctx, which kills
// the child. After a death all calls fail. The errors do not name the implementation.
func (p *process) call(ctx context.Context, r request) (answer, error) {
	if p.failed != nil {
		return answer{}, p.failed
	}
	_ = p.encoder.Encode(r) // fails if the child is dead, which is noticed below
	select {
	case a := <-p.answers:
		if a.err != nil {
			return answer{}, p.noteDead(errDied, endTimeout)
		}
		if a.Error != "" {
			return a.answer, errors.New(a.Error)
		}
		return a.answer, nil
	case <-ctx.Done():
		return answer{}, p.noteDead(fmt.Errorf("no answer to %q: %w", r.Op, context.Cause(ctx)), 0)
	}
}

// close lets the child end and waits for it. It may be called again, and on nil.
func (p *process) close() error {
	if p == nil || p.failed != nil {
		return nil
	}
	p.failed = fmt.Errorf("child process: %w", os.ErrClosed)
	if err := p.end(endTimeout); err != nil {
		return fmt.Errorf("child process: %w%s", err, p.stderr.text())
	}
	return nil
}

// noteDead ends the child and keeps err, with the child's stderr, for all later calls.
func (p *process) noteDead(err error, wait time.Duration) error {
	state := ""
	if end := p.end(wait); end != nil {
		state = " (" + end.Error() + ")"
	}
	p.failed = fmt.Errorf("%w%s%s", err, state, p.stderr.text())
	return p.failed
}

// endTimeout is how long a child may take to end by itself. On a busy machine, a child that was
// just started needs seconds to notice.
const endTimeout = 10 * time.Second

// end closes the child's input, kills the child if it still runs after wait, and returns how it
// ended.
func (p *process) end(wait time.Duration) error {
	_ = p.stdin.Close()
	timer := time.AfterFunc(wait, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for range p.answers {
		// Late answers are dropped. read closes the channel when stdout ends.
	}
	return p.cmd.Wait()
}

// excerptSize is how many bytes are kept of each end of a child's stderr: a Go crash names its
// reason at the start, a C library at the end.
const excerptSize = 2048

// excerpt is an io.Writer that keeps the start and the end of a text.
type excerpt struct{ start, end []byte }

func (e *excerpt) Write(text []byte) (int, error) {
	n := min(len(text), excerptSize-len(e.start))
	e.start = append(e.start, text[:n]...)
	e.end = append(e.end, text[n:]...)
	if extra := len(e.end) - excerptSize; extra > 0 {
		e.end = append(e.end[:0], e.end[extra:]...)
	}
	return len(text), nil
}

// text returns the text after a colon, or nothing if it is empty. It must not be called before
// cmd.Wait has returned, which is when writing ends.
func (e *excerpt) text() string {
	text := strings.TrimSpace(string(e.start) + string(e.end))
	if text == "" {
		return ""
	}
	return ": " + text
}
