/** Tasks that a device puts off, run when the test says so. */

/** Give `defer` to the device. */
export class DeferredTasks {
  private tasks: (() => void)[] = []

  readonly defer = (task: () => void): void => {
    this.tasks.push(task)
  }

  get count(): number {
    return this.tasks.length
  }

  /** One round, as an event loop does it; true if there was something. */
  readonly run = (): boolean => {
    const { tasks } = this
    this.tasks = []
    for (const task of tasks) task()
    return tasks.length > 0
  }

  /** Rounds until nothing is left; throws when there is no end to it. */
  runAll(): void {
    for (let round = 0; this.run(); round++) if (round === 10_000) throw new Error('tasks without end')
  }
}
