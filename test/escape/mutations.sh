#!/bin/bash
# mutations.sh DIR [NAME]...: whether the tests see it when contain is weakened.
#
# For each mutation (or those named) a copy of the source is changed by sed, and built,
# and the tests that should notice are run with that binary. DIR has the probes, as
# "make probe" builds them. It prints a line for each: the mutation, the tests that
# failed, and what contain says if it does not even start a program any more, which is
# verify.go's doing. Status 1: a mutation was not noticed, or changes nothing.
#
# verify.go compares with the same configuration: what weakens that passes it.
set -u
cd "$(dirname "$0")/../.." || exit 2
dir=$1 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shift
only=" $* " missed=0
# Attacks may succeed here: what they would change is in namespaces of the tests' own.
export CONTAIN_TEST_REQUIRED=1 PROBE=$dir/probe ESCAPE=$dir/escape AUDIT=$dir/audit
mkdir -p "$work/root/bin" && cp "$dir/probe" "$work/root/bin" || exit 2
go test -c -o "$work/test" ./test || exit 2

# mutant NAME TESTS [FILE EXPRESSION]...: change these files (sed -E), build, run the
# tests that match.
mutant() {
	local name=$1 tests=$2 failed status start
	shift 2
	[[ $only = '  ' || $only = *" $name "* ]] || return 0
	rm -rf "$work/src" && mkdir "$work/src" && git ls-files -z -c -o --exclude-standard | xargs -0 cp --parents -t "$work/src" || exit 2
	while [ $# -gt 0 ]; do
		sed -Ei "$2" "$work/src/$1"
		if cmp -s "$1" "$work/src/$1"; then
			printf '%-22s %s\n' "$name" "CHANGES NOTHING in $1"
			missed=1
			return
		fi
		shift 2
	done
	if ! make -s -C "$work/src" build >"$work/log" 2>&1; then
		printf '%-22s %s\n' "$name" "DOES NOT BUILD: $(tail -1 "$work/log")"
		missed=1
		return
	fi
	start=$("$work/src/contain" -state-dir "$work/state" -chroot "$work/root" -- probe exit 0 2>&1 </dev/null | head -1)
	(cd test && CONTAIN=$work/src/contain CONTAIN_ALTERED=$work/src/contain timeout 120 "$work/test" -test.v -test.run "^Test($tests)\$") >"$work/log" 2>&1
	status=$?
	failed=$(sed -nE 's/^--- FAIL: Test(\w+).*/\1/p' "$work/log" | paste -sd ' ')
	if [ "$name" = none ]; then
		[ $status = 0 ] && failed='nothing, as it must be' || missed=1
	elif [ -z "$failed" ]; then
		failed='NOT NOTICED' missed=1
	fi
	printf '%-22s %s%s\n' "$name" "$failed" "${start:+ ($start)}"
}

mutant none 'Escape.*|RootExchanged|SystemCallsThatAreRefused|WhatIsForbidden|Mounts|Privileges|Descriptors|Namespaces|UmaskIsInherited|FilesAndDevices|EnvironmentIsFixed|ForkBombIsBounded'

# System calls.
mutant no-filter 'EscapeAttempts|SystemCallsThatAreRefused' seccomp.go 's/if o\.profile == "none" \{/if true {/'
mutant other-architectures 'EscapeAttempts' seccomp.go 's/\{answer\(unix\.SECCOMP_RET_KILL_PROCESS\)\}, native/{answer(unix.SECCOMP_RET_ALLOW)}, native/'
mutant x32 'EscapeAttempts' seccomp.go 's/(x32, 0, 1\), answer\(unix\.SECCOMP_RET_)KILL_PROCESS/\1ALLOW/'
mutant all-sockets 'EscapeAttempts|SystemCallsThatAreRefused' seccomp.go 's/return append\(f, knownSockets.*/return f/'
mutant pid1-not-kept 'EscapeAttempts|SystemCallsThatAreRefused' seccomp.go 's/if !direct \{/if false {/'
mutant core-limit-set 'EscapeAttempts|SystemCallsThatAreRefused' seccomp.go 's/^.*append\(f, keepCoreLimit.*//'
mutant core-limit-callers 'SystemCallsThatAreRefused' config.go 's/min\(1, h\.coreHard\)/h.coreHard/g'

# Capabilities, users, files that give privileges.
mutant shocker 'EscapeAttempts|Privileges' capability.go 's/unix\.CAP_DAC_OVERRIDE, unix/unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix/' seccomp.go 's/if o\.profile == "none" \{/if true {/'
mutant sys-admin 'EscapeAttempts|Privileges' capability.go 's/unix\.CAP_SYS_CHROOT\)/unix.CAP_SYS_CHROOT, unix.CAP_SYS_ADMIN)/' seccomp.go 's/if o\.profile == "none" \{/if true {/'
mutant mknod-and-devices 'EscapeAttempts|WhatIsForbidden' capability.go 's/unix\.CAP_SETFCAP/unix.CAP_MKNOD, unix.CAP_SETFCAP/' config.go 's/(Major: devices\.Wildcard.*"rwm")\}\}/\1, Allow: true}}/'
mutant devices 'EscapeAttempts|WhatIsForbidden' config.go 's/(Major: devices\.Wildcard.*"rwm")\}\}/\1, Allow: true}}/'
mutant inheritable 'Privileges|EscapeByPrivilegedFiles' pid1.c 's/data\[i\]\.inheritable = 0/data[i].inheritable = data[i].permitted/' verify.go 's/\{"CapInh", set\(0\)\}, //'
mutant new-privileges 'EscapeByPrivilegedFiles|Privileges' config.go 's/!opts\.newPrivs,/false,/' container.go 's/newPrivs: opts\.newPrivs/newPrivs: true/'
mutant large-users 'EscapeByUsersAndGroups' privileges.go 's/ \|\| n > most//'
mutant set-user-id 'EscapeBySetUserID' main.go 's/if os\.Getuid\(\) != os\.Geteuid\(\)/if false/'
mutant keyring 'EscapeByKeyring' config.go 's/^(\treturn|\tconfig := )(&configs\.Config\{)/\1\2\n\t\tNoNewKeyring: true,/'

# Mounts and files.
mutant no-pivot 'EscapeBeneathTheRoot' config.go 's/^(\tconfig := &configs\.Config\{)/\1\n\t\tNoPivotRoot: true,/'
mutant sys-writable 'EscapeAttempts|WhatIsForbidden|Mounts' config.go 's/(Device: "sysfs", Flags: hard) \| unix\.MS_RDONLY/\1/'
mutant cgroups-writable 'EscapeAttempts|EscapeByCgroups' config.go 's/unix\.MS_NODEV \| unix\.MS_RDONLY/unix.MS_NODEV/'
mutant masks 'EscapeAttempts|WhatIsForbidden' config.go 's/opts\.without\(masked\(h\.cpus\)\)/nil/'
mutant read-only-paths 'EscapeAttempts|WhatIsForbidden|Mounts' config.go 's/opts\.without\(readonlyPaths\)/nil/'
mutant proc-flags 'Mounts' config.go 's/(Device: "proc"), Flags: hard/\1/'
mutant dev-of-DIR 'Mounts|EscapeByFilesInDIR' config.go '/Destination: "\/dev", /d'
mutant masks-not-made 'EscapeAttempts|WhatIsForbidden' mounts.go '/^func \(p \*places\) cover/,/^\}/s/^\tdir, name := .*/\treturn nil\n&/'
mutant paths-not-protected 'EscapeAttempts|WhatIsForbidden|Mounts' mounts.go '/^func \(p \*places\) readonly/,/^\}/s/return protect\(tree\)/return nil/'
mutant mounts-of-host 'OddPlaces' init.go 's/err = unix\.Mount\("", pathOf\(rootfsFD\).*/_ = place/'
mutant ipc-of-host 'Namespaces' config.go 's/\{Type: configs\.NEWIPC\},//'
# That verify.go looks at mounts is seen in the brackets behind masks-not-made: who exchanges
# directories of DIR no longer gets a mount left out (RootExchanged passes without it).
mutant links-in-DIR 'EscapeByFilesInDIR' rootfs.go 's/unix\.RESOLVE_IN_ROOT \| //; s/int\(r\.dir\.Fd\(\)\), path, how/int(r.dir.Fd()), ".\/"+path, how/'
mutant any-DIR 'FilesAndDevices' host.go 's/err == nil \&\& !opts\.untrusted/err == nil \&\& false/'

# Descriptors and what else is inherited.
mutant directory-as-stdin 'EscapeByDescriptors|Descriptors' host.go 's/case st\.Mode.*S_IFDIR:/case false:/'
mutant path-as-stdin 'EscapeByDescriptors' host.go 's/case flags.unix\.O_PATH != 0:/case flags < 0:/'
mutant descriptors-left 'EscapeByDescriptors|Descriptors' pid1.c 's/^\tclose_from_to\(PID1_IMAGE, PID1_JOIN.*//'
mutant directory-left 'EscapeByDescriptors|Descriptors' container.go 's/^(\t)files = slices\.Concat\(files, own, doors\.files\)/\1host, _ := os.Open("\/")\n\1files = slices.Concat(files, own, doors.files, []*os.File{host})/'
mutant dumpable-pid1 'EscapeAttempts|WhatIsForbidden' pid1.c 's/^.*PR_SET_DUMPABLE.*//'
mutant environment 'EnvironmentIsFixed' container.go 's/opts\.environment\(fixed\)/opts.environment(append(os.Environ(), fixed...))/'
mutant umask 'UmaskIsInherited' config.go '/Umask: /d'
mutant pids 'ForkBombIsBounded' config.go 's/if h\.pidsLimit \{/if false {/'
mutant address-of-host 'EscapeOfAddresses' network.go '/disable_ipv6/d'

# What pid1 does not do, verify.go sees: nothing starts.
mutant pid1-no-filter 'Privileges' pid1.c 's/^\tfilter_calls\(t\);//'
mutant pid1-capabilities 'Privileges' pid1.c 's/^\tbound\(t->caps\);//'
mutant pid1-cgroup-ns 'Namespaces' pid1.c 's/^.*__NR_unshare, CLONE_NEWCGROUP.*//'
mutant pid1-user 'EscapeByUsersAndGroups' pid1.c 's/^.*__NR_setresuid.*//'
exit $missed
