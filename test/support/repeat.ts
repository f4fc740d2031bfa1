/** Does `act` `count` times, with the number of the turn: keeps loops out of tests. */
export function repeat(count: number, act: (turn: number) => void): void {
  for (let turn = 0; turn < count; turn++) act(turn)
}
