package native

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// sources are the loops of liburcu and ck_epoch. They are compiled when they are to run, so that
// the module builds on machines without these libraries.
//
//go:embed bench.h rcu
var sources embed.FS

// RCU is a library for C programs that does what rcu and FreeRCU do.
type RCU struct {
	sources []string // in directory rcu
	header  string   // the one that the sources include
	libs    []string // for the linker
	Symbol  string   // exported by the first of libs
	pc      string   // name of the pkg-config file beside it, which has the version
	Package string   // the Debian package that has the header
	About   string   // the library's name

	dir string // the one that -native names; empty: the system's directories
}

var rcus = [...]RCU{
	{sources: []string{"urcu.c", "urcu_memb.c"}, header: "urcu/urcu-qsbr.h", libs: []string{"urcu-qsbr", "urcu-memb"},
		Symbol: "urcu_qsbr_synchronize_rcu", pc: "liburcu", Package: "liburcu-dev", About: "liburcu"},
	{sources: []string{"ck.c"}, header: "ck_epoch.h", libs: []string{"ck"},
		Symbol: "ck_epoch_barrier", pc: "ck", Package: "libck-dev", About: "ck_epoch"},
}

func newRCU(i int, dir string) *RCU {
	r := rcus[i]
	r.dir = dir
	return &r
}

// flags are the compiler's flags. A library may reach thread-local variables by a call of
// __tls_get_addr, which a program's own code never does; liburcu's sections would take four times
// as long. initial-exec forbids the call, and requires that the library is loaded when the process
// starts.
var flags = []string{"-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC", "-ftls-model=initial-exec", "-pthread"}

// compiler returns the words of $CC (it may be "ccache gcc"), or gcc.
func compiler() ([]string, error) {
	words := strings.Fields(os.Getenv("CC"))
	if len(words) == 0 {
		words = []string{"gcc"}
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, &MissingError{File: words[0], Package: "gcc"}
	}
	return append([]string{path}, words[1:]...), nil
}

// compile runs the compiler. The error ends with the compiler's output.
func compile(what string, stdin string, args ...string) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	command := exec.Command(cc[0], append(cc[1:], args...)...)
	command.Env = append(os.Environ(), "LC_ALL=C") // Check reads the output
	command.Stdin = strings.NewReader(stdin)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %s: %w\n%s", what, strings.Join(cc, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// include returns the compiler's flag for the headers of -native's directory, nothing without it.
func (r *RCU) include() []string {
	if r.dir == "" {
		return nil
	}
	return []string{"-I" + filepath.Join(r.dir, "include")}
}

// Check looks for the compiler and the header. The error is a *MissingError if one is missing.
func (r *RCU) Check() error {
	if r.dir != "" {
		header := filepath.Join("include", r.header)
		if _, err := os.Stat(filepath.Join(r.dir, header)); err != nil {
			return &MissingError{File: header, Dir: r.dir}
		}
	}
	args := append(r.include(), "-E", "-x", "c", "-o", os.DevNull, "-")
	err := compile("a line that includes "+r.header, "#include <"+r.header+">\n", args...)
	if err == nil {
		return nil
	}
	// The messages of gcc and clang.
	for _, reason := range []string{r.header + ": No such file", "'" + r.header + "' file not found"} {
		if strings.Contains(err.Error(), reason) {
			return &MissingError{File: r.header, Package: r.Package}
		}
	}
	return err
}

// Compile makes a library in dir, to be preloaded and given to Load, and returns its path. The
// error is a *MissingError if the compiler or the header is missing.
func (r *RCU) Compile(dir string) (path string, err error) { return r.compile(dir, flags) }

func (r *RCU) compile(dir string, flags []string) (path string, err error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if err := unpack(dir); err != nil {
		return "", err
	}
	path = filepath.Join(dir, strings.TrimSuffix(r.sources[0], ".c")+".so")
	args := append(slices.Clone(flags), r.include()...)
	args = append(args, "-o", path)
	for _, source := range r.sources {
		args = append(args, filepath.Join(dir, source))
	}
	for _, lib := range r.libs {
		if r.dir == "" {
			args = append(args, "-l"+lib)
			continue
		}
		file, err := r.find(lib)
		if err != nil {
			return "", err
		}
		args = append(args, file, "-Wl,-rpath,"+filepath.Dir(file))
	}
	return path, compile(strings.Join(r.sources, " and "), "", args...)
}

// find looks for one of libs in the directory of -native.
func (r *RCU) find(lib string) (path string, err error) { return findIn(r.dir, "lib"+lib+".so") }

// Loaded returns the version of the library that is loaded as file. It has no function for that, so
// the pkg-config file beside it tells. With -native, file must be that of its directory.
func (r *RCU) Loaded(file string) (version string, err error) {
	if r.dir != "" {
		path, err := r.find(r.libs[0])
		if err == nil {
			err = sameFile(path, file)
		}
		if err != nil {
			return "", err
		}
	}
	return r.About + " " + fileVersion(file, r.pc), nil
}

// unpack writes all sources into dir, without subdirectories.
func unpack(dir string) error {
	return fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600)
	})
}
