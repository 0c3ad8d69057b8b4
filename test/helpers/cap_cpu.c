/* Preloaded into a program, hides what its processor can do beyond AVX2 (CAP_CPU=avx2) or AVX2 with VNNI
   (CAP_CPU=avx_vnni): AVX-512 and AMX, as `make demo CPU=avx2` measures without them.

   The kernel lets the instruction cpuid trap (arch_prctl ARCH_CPUID; "cpuid_fault" in /proc/cpuinfo says whether it can),
   so every library sees the smaller processor, whatever it asks with. Its clock and caches stay what they are.

       cc -O2 -shared -fPIC cap_cpu.c -o cap_cpu.so && LD_PRELOAD=$PWD/cap_cpu.so CAP_CPU=avx2 python … */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_CPUID 0x1012
#define BIT(n) (1u << (n))

static int vnni;

static void on_trap(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || instruction[0] != 0x0f || instruction[1] != 0xa2) {
        signal(signal_number, SIG_DFL); /* a fault of another kind: it comes again, and ends the program */
        return;
    }
    unsigned leaf = registers[REG_RAX], sub = registers[REG_RCX], a = leaf, b, c = sub, d;
    syscall(SYS_arch_prctl, ARCH_CPUID, 1);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    syscall(SYS_arch_prctl, ARCH_CPUID, 0);
    if (leaf == 7 && sub == 0) {
        b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)); /* AVX-512 */
        c &= ~(BIT(1) | BIT(6) | BIT(8) | BIT(11) | BIT(12) | BIT(14));   /* more of it, GFNI */
        d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25)); /* more of it, AMX */
    } else if (leaf == 7 && sub == 1) {
        a &= ~(BIT(5) | BIT(21) | BIT(23) | (vnni ? 0 : BIT(4)));         /* AVX-512 bf16, AMX fp16, AVX-IFMA, AVX-VNNI */
        d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19));             /* newer AVX-VNNI, AMX, AVX10 */
    } else if (leaf == 0xd && sub == 0) {
        a &= ~(BIT(5) | BIT(6) | BIT(7) | BIT(17) | BIT(18));             /* their registers */
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *cap = getenv("CAP_CPU");
    if (!cap)
        return;
    vnni = !strcmp(cap, "avx_vnni");
    struct sigaction action = {0};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
    sigaction(SIGSEGV, &action, 0);
    if (syscall(SYS_arch_prctl, ARCH_CPUID, 0)) {
        perror("cap_cpu: this processor's cpuid cannot be trapped");
        exit(2);
    }
}
