package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"vkconv"
)

// The scripts are thin: what there is to complete is asked of the command
// itself, so that all shells offer the same and devices are those of the machine.
var completionScripts = map[string]string{
	"bash": `# bash completion for convbench: eval "$(convbench completion bash)"
_convbench() {
	local cur="${COMP_WORDS[COMP_CWORD]}" line file
	COMPREPLY=()
	while IFS= read -r line; do
		if [[ $line == :files ]]; then
			compopt -o filenames 2>/dev/null
			while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$cur")
		else
			COMPREPLY+=("$line")
		fi
	done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _convbench convbench
`,
	"zsh": `#compdef convbench
# zsh completion for convbench: convbench completion zsh >"${fpath[1]}/_convbench"
_convbench() {
	local -a lines
	lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if (( ${lines[(I):files]} )); then
		lines=("${(@)lines:#:files}")
		_files
	fi
	(( $#lines )) && compadd -- "${(@)lines}"
}
if [[ ${funcstack[1]} == _convbench ]]; then _convbench "$@"; else compdef _convbench convbench; fi
`,
	"fish": `# fish completion for convbench: convbench completion fish >~/.config/fish/completions/convbench.fish
function __convbench_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
		if test "$line" = ":files"
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c convbench -f -a '(__convbench_complete)'
`,
}

// shells are those that have a script.
var shells = []string{"bash", "zsh", "fish"}

func completionCommand() command {
	return command{
		name: "completion", args: strings.Join(shells, "|"), operands: words(shells...),
		short: "print the completion script of a shell",
		long: `Prints a script that makes a shell complete commands, flags, the names of sets, kernels and
devices, and files. Put it where the shell looks, or load it from the shell's startup file:

  bash  eval "$(convbench completion bash)"   in ~/.bashrc
  zsh   convbench completion zsh >"${fpath[1]}/_convbench"
  fish  convbench completion fish >~/.config/fish/completions/convbench.fish`,
		examples: `
  convbench completion bash
  convbench completion zsh
  convbench completion fish`,
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, e *env, args []string) error {
				if len(args) != 1 || completionScripts[args[0]] == "" {
					return badInputf("completion needs a shell, one of %s", strings.Join(shells, ", "))
				}
				_, err := fmt.Fprint(e.stdout, completionScripts[args[0]])
				return err
			}
		},
	}
}

// completeCommand answers the scripts: the words behind the command's name, of
// which the last is being written, in; candidates out, one a line. :files stands
// for the shell's own files.
func completeCommand() command {
	return command{name: "__complete", hidden: true, raw: true, setup: func(*flag.FlagSet) action {
		return func(_ context.Context, e *env, args []string) error {
			for _, c := range complete(args) {
				fmt.Fprintln(e.stdout, c)
			}
			return nil
		}
	}}
}

// filesWanted asks the shell for its files.
const filesWanted = ":files"

func complete(args []string) (candidates []string) {
	if len(args) == 0 {
		args = []string{""}
	}
	before, current := args[:len(args)-1], args[len(args)-1]
	keep := func(words []string) (kept []string) {
		for _, w := range words {
			if strings.HasPrefix(w, current) {
				kept = append(kept, w)
			}
		}
		return kept
	}
	all := commands()
	var names []string
	for _, c := range all[1:] {
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	c := all[0]
	if len(before) > 0 && !strings.HasPrefix(before[0], "-") {
		if before[0] == "help" {
			return keep(names)
		}
		i := slices.IndexFunc(all[1:], func(c command) bool { return c.name == before[0] })
		if i < 0 {
			return nil
		}
		c = all[i+1]
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	c.setup(flags)
	if len(before) > 0 {
		if name := strings.TrimLeft(before[len(before)-1], "-"); strings.HasPrefix(before[len(before)-1], "-") {
			if f := flags.Lookup(name); f != nil && !isBool(f) {
				return c.valuesOf(f, current)
			}
		}
	}
	switch {
	case strings.HasPrefix(current, "-"):
		var dashed []string
		flags.VisitAll(func(f *flag.Flag) { dashed = append(dashed, "-"+f.Name) })
		return keep(append(dashed, "-h"))
	case c.name == "" && len(before) == 0:
		return keep(append(names, "help"))
	case c.operands != nil:
		return keep(c.operands())
	case c.args != "":
		return []string{filesWanted}
	}
	return nil
}

// isBool tells whether a flag takes no value.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// valuesOf lists what a flag's value may be. Of a list with commas the last word
// is completed.
func (c command) valuesOf(f *flag.Flag, current string) (candidates []string) {
	known := c.values[f.Name]
	if known == nil && f.Name == "device" {
		known = deviceNames
	}
	if known == nil {
		if kind, _ := flag.UnquoteUsage(f); strings.Contains(strings.ToLower(kind), "file") || kind == "directory" {
			return []string{filesWanted}
		}
		return nil
	}
	first := current[:strings.LastIndexByte(current, ',')+1]
	for _, v := range known() {
		if strings.HasPrefix(v, current[len(first):]) {
			candidates = append(candidates, first+v)
		}
	}
	return candidates
}

// deviceNames are what -device may be on this machine.
func deviceNames() []string {
	names := []string{"cpu"}
	infos, err := vkconv.Devices()
	if err != nil {
		return names
	}
	for _, i := range infos {
		names = append(names, fmt.Sprint(i.Index), strings.ToLower(strings.Fields(i.Name + " x")[0]))
	}
	return names
}
